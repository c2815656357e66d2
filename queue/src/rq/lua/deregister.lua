-- Withdraws this worker, as RQ does: the record stays for a minute, with its death.
-- ARGV: registration.rs.
local worker = worker_key(W)
redis.call('SREM', P .. ':workers', worker)
for i = 3, #ARGV do redis.call('SREM', P .. ':workers:' .. ARGV[i], worker) end
if redis.call('EXISTS', worker) == 1 then
  redis.call('HSET', worker, 'death', now_iso)
  redis.call('HDEL', worker, 'current_job')
  redis.call('EXPIRE', worker, 60)
end
redis.call('DEL', worker .. ':executions')
return 1
