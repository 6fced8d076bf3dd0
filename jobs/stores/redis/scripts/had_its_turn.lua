-- KEYS: unfinished jobs of a model. ARGV: a job, the lowest score of its priority.
-- Puts the job behind the others of its priority.
redis.call('ZADD', KEYS[1], 'XX', string.format('%.0f', ARGV[2] + now_ms()), ARGV[1])
