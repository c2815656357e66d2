-- Announces this worker. ARGV: registration.rs.
local worker = worker_key(W)
local fields = tonumber(ARGV[4])
redis.call('DEL', worker, worker .. ':executions')
redis.call('HSET', worker, 'birth', now_iso, 'last_heartbeat', now_iso, unpack(ARGV, 5, 4 + 2 * fields))
redis.call('EXPIRE', worker, ARGV[3])
redis.call('SADD', P .. ':workers', worker)
for i = 5 + 2 * fields, #ARGV do redis.call('SADD', P .. ':workers:' .. ARGV[i], worker) end
return 1
