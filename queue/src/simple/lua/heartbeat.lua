-- Renews a worker's record and leases on one queue.
-- ARGV and answer: heartbeat.rs.

local q = {key = ARGV[1], prefix = ARGV[2], group = ARGV[3]}
local lease, worker, fields = tonumber(ARGV[4]), ARGV[5], tonumber(ARGV[6])
local now = now_ms()
local record = q.prefix .. ':worker:' .. worker
-- First, because it needs no memory and lets Redis pass the rest: a full Redis must not take jobs from their workers.
redis.call('PEXPIRE', record, lease * 4)
redis.call('HSET', record, 'last_heartbeat', string.format('%.0f', now), unpack(ARGV, 7, 6 + fields))
redis.call('HSETNX', record, 'birth', string.format('%.0f', now))
-- Long enough to be seen as dead before it is forgotten.
redis.call('PEXPIRE', record, lease * 4)
redis.call('ZADD', q.prefix .. ':workers', now, worker)

local lost = {}
for i = 7 + fields, #ARGV, 2 do
  local id, execution = ARGV[i], ARGV[i + 1]
  if redis.call('HGET', job_key(q, id), 'execution') == execution then
    redis.call('ZADD', q.prefix .. ':lease', lease_end(now, lease, (i - 7 - fields) / 2), id)
    touch(q, id, worker)
  else
    lost[#lost + 1] = id
  end
end
return lost
