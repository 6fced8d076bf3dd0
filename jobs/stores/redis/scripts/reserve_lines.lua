-- Reserve room for the lines of a batch, if its project has so much left. A batch keeps its room until it ends.
-- The arguments from the fourth on are the id of another unfinished batch, and the number of its lines without a result.
-- Each other batch with a reservation waits with all lines that it has reserved.
-- Returns -1 if the room is reserved, else the number of lines of the other batches that wait.
local reserved = KEYS[1]
local id, num_lines, max_lines = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local waiting = {}
local reservations = redis.call('HGETALL', reserved)
for i = 1, #reservations, 2 do
  waiting[reservations[i]] = tonumber(reservations[i + 1])
end
for i = 4, #ARGV, 2 do
  waiting[ARGV[i]] = tonumber(ARGV[i + 1])
end
waiting[id] = nil
local others = 0
for _, lines in pairs(waiting) do
  others = others + lines
end
if others + num_lines > max_lines then
  return others
end
redis.call('HSET', reserved, id, num_lines)
return -1
