-- Put a job behind the others of its priority, if it is still listed.
-- `unfinished` is the list of a model's unfinished jobs, `min_score` the lowest score of the job's priority.
local unfinished = KEYS[1]
local job_id, min_score = ARGV[1], ARGV[2]
redis.call('ZADD', unfinished, 'XX', string.format('%.0f', min_score + now_ms()), job_id)
