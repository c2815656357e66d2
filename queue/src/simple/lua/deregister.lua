-- Forgets a worker.
-- ARGV: mod.rs.

local q = {key = ARGV[1], prefix = ARGV[2], group = ARGV[3]}
redis.call('ZREM', q.prefix .. ':workers', ARGV[4])
redis.call('DEL', q.prefix .. ':worker:' .. ARGV[4])
forget(q, ARGV[4])
return 1
