-- Renews this worker's record and its leases; gives the numbers (from 0) of those that are not ours any more.
-- ARGV and answer: heartbeat.rs.
local worker_ttl, lease = tonumber(ARGV[3]), tonumber(ARGV[4])
local expiry = math.ceil(now + micros / 1e6 + lease)
local fields = tonumber(ARGV[5])
local queues_at = 6 + 2 * fields
local queues = tonumber(ARGV[queues_at])
local worker = worker_key(W)

-- First, because it needs no memory and lets Redis pass the rest: a full Redis must not take jobs from their workers.
redis.call('EXPIRE', worker, int(worker_ttl))
if redis.call('HEXISTS', worker, 'birth') == 0 then
  redis.call('HSET', worker, unpack(ARGV, 6, queues_at - 1))
  redis.call('HSET', worker, 'birth', now_iso)
  redis.call('SADD', P .. ':workers', worker)
  for i = 1, queues do redis.call('SADD', P .. ':workers:' .. ARGV[queues_at + i], worker) end
end
redis.call('HSET', worker, 'last_heartbeat', now_iso)
-- As RQ 2 leaves it: together with the time of the heartbeat it tells how old the job (or batch) in hand is.
local claimed_at = tonumber(redis.call('HGET', worker, 'jobqueue_claimed_at') or '')
if claimed_at then
  local working_time = string.format('%.6f', math.max(now + micros / 1e6 - claimed_at, 0))
  redis.call('HSET', worker, 'current_job_working_time', working_time)
end
redis.call('EXPIRE', worker, int(worker_ttl))
redis.call('EXPIRE', worker .. ':executions', int(worker_ttl))

local lost, members, number = {}, {}, 0
for i = queues_at + queues + 1, #ARGV, 3 do
  local Q, J, E = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  local member, key = J .. ':' .. E, execution_key(J, E)
  if redis.call('ZSCORE', wip_key(Q), member) then
    redis.call('ZADD', wip_key(Q), 'XX', int(OURS + expiry), member)
    redis.call('HSET', key, 'last_heartbeat', now_float)
    -- Somebody deleted it: its readers need all of it.
    if redis.call('HEXISTS', key, 'id') == 0 then
      redis.call('HSET', key, 'id', E, 'created_at', now_float, 'worker_name', W, 'job_id', J)
    end
    redis.call('EXPIRE', key, int(lease + RECORD_OF_A_RUN))
    redis.call('EXPIRE', held_key(E), int(lease + RECORD_OF_A_RUN))
    redis.call('ZADD', executions_key(J), int(expiry + 60), E)
    redis.call('EXPIRE', executions_key(J), int(lease + RECORD_OF_A_RUN))
    if redis.call('EXISTS', job_key(J)) == 1 then redis.call('HSET', job_key(J), 'last_heartbeat', now_iso) end
  else
    pcall(redis.call, 'DEL', key)
    pcall(forget_copy, E)
    pcall(redis.call, 'ZREM', executions_key(J), E)
    lost[#lost + 1] = number
    members[#members + 1] = member
  end
  number = number + 1
end
-- What was canceled, deleted or taken over keeps this worker no longer.
if #members > 0 then
  redis.call('SREM', worker .. ':executions', unpack(members))
  if redis.call('EXISTS', worker .. ':executions') == 0 then
    redis.call('HSET', worker, 'state', 'idle', 'current_job_working_time', '0')
    redis.call('HDEL', worker, 'current_job', 'jobqueue_claimed_at')
  end
end
return lost
