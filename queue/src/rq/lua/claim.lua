-- Takes up to `max` jobs, earlier queues first. A job leaves its queue, gets an execution and a lease in one step, so
-- no crash can lose it in between.
-- ARGV: prefix, worker, worker ttl, lease, max jobs, max bytes per job, max bytes altogether, execution id stem,
--       substitute data and error text for a missing record, queue names...
local worker_ttl, lease, max = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local max_job_bytes, max_bytes = tonumber(ARGV[6]), tonumber(ARGV[7])
local stem, missing_data, missing_text = ARGV[8], ARGV[9], ARGV[10]
local expiry = math.ceil(now + micros / 1e6 + lease)

local OVER = {finished = true, failed = true, canceled = true, stopped = true, deferred = true, scheduled = true,
  rate_limited = true}

local jobs, dropped, bytes, cap = {}, {}, 0, max
-- Leases are written once per queue; what this very claim took is known from here.
local taken, held, mine = {}, {}, {}
-- Stale ids cost no place in the batch, but a flood of them must not hold up the server.
local budget = max * 4 + 400

local function drop(J, reason)
  dropped[#dropped + 1] = J
  dropped[#dropped + 1] = reason
end

-- A job that was running when its worker died is a suspect: after the first crash it runs in a small batch, then
-- alone, so that one that kills its worker does not take the others' attempts with it.
local function batch_for(crashes)
  if crashes == 0 then return max end
  if crashes == 1 then return math.min(max, 16) end
  return 1
end

-- Gives false when the job has to wait for another batch.
local function take(J, Q)
  local f = redis.call('HMGET', job_key(J), 'status', 'data', 'created_at', 'enqueued_at', 'timeout',
    'jobqueue_generation', 'jobqueue_attempts', 'jobqueue_crashes', 'jobqueue_execution')
  local status, data, previous = f[1], f[2], f[9]
  if not data then
    bury_missing(J, Q, missing_data, missing_text)
    drop(J, 'its record is gone')
    return true
  end
  if OVER[status] then
    drop(J, 'its status is ' .. status)
    return true
  end
  if mine[J] then
    drop(J, 'it is running already')
    return true
  end
  if previous and previous ~= '' then
    local score = tonumber(redis.call('ZSCORE', wip_key(Q), J .. ':' .. previous) or '')
    if score and score > now then
      drop(J, 'it is running already')
      return true
    end
    forget_execution(J, previous, Q, nil)
  elseif status == 'started' and live_execution(J, Q, '') then
    drop(J, 'it is running already')
    return true
  end
  local crashes = tonumber(f[8] or '') or 0
  local size = #data
  local limit = batch_for(crashes)
  if #jobs > 0 and (#jobs >= limit or bytes + size > max_bytes) then return false end
  cap = math.min(cap, limit)

  local attempts = (tonumber(f[7] or '') or 0) + 1
  local E = stem .. string.format('%08x', #jobs)
  local key, ekey, xkey = job_key(J), execution_key(J, E), executions_key(J)
  redis.call('HSET', key, 'status', 'started', 'started_at', now_iso, 'last_heartbeat', now_iso, 'worker_name', W,
    'jobqueue_execution', E, 'jobqueue_attempts', int(attempts))
  redis.call('PERSIST', key)
  redis.call('HSET', ekey, 'id', E, 'created_at', now_float, 'last_heartbeat', now_float, 'worker_name', W,
    'job_id', J)
  redis.call('EXPIRE', ekey, int(lease))
  redis.call('ZADD', xkey, int(expiry + 60), E)
  redis.call('EXPIRE', xkey, int(lease + 60))
  taken[#taken + 1] = int(expiry)
  taken[#taken + 1] = J .. ':' .. E
  held[#held + 1] = J .. ':' .. E
  mine[J] = true
  if size > max_job_bytes then
    data = ''
  else
    bytes = bytes + size
  end
  jobs[#jobs + 1] = {Q, J, E, data, int(size), f[3] or '', f[4] or '', f[5] or '', f[6] or '0', int(attempts),
    int(crashes)}
  return true
end

-- A record that is not what it should be (another type of key, say) must not stop the queue.
local function refuse(J, Q, err)
  drop(J, err)
  pcall(redis.call, 'HSET', job_key(J), 'status', 'failed')
  pcall(redis.call, 'ZADD', failed_key(Q), int(now + 86400), J)
  pcall(redis.call, 'DEL', execution_key(J, stem .. string.format('%08x', #jobs)))
end

local function serve(Q)
  while #jobs < cap and budget > 0 do
    local ids = redis.call('LPOP', queue_key(Q), math.min(cap - #jobs, budget))
    if not ids then return end
    budget = budget - #ids
    for i, J in ipairs(ids) do
      local ok, fits = pcall(take, J, Q)
      if not ok then
        refuse(J, Q, message(fits))
      elseif not fits then
        for k = #ids, i, -1 do redis.call('LPUSH', queue_key(Q), ids[k]) end
        cap = 0
        return
      elseif #jobs >= cap and i < #ids then
        for k = #ids, i + 1, -1 do redis.call('LPUSH', queue_key(Q), ids[k]) end
        cap = 0
        return
      end
    end
  end
end

if redis.call('EXISTS', P .. ':suspended') == 1 then
  if redis.call('EXISTS', worker_key(W)) == 1 then redis.call('HSET', worker_key(W), 'state', 'suspended') end
  return {1, {}, {}}
end

local trouble
for i = 11, #ARGV do
  if #jobs >= cap then break end
  local Q = ARGV[i]
  local ok, err = pcall(serve, Q)
  if not ok then trouble = message(err) end
  for k = 1, #taken, 500 do
    redis.call('ZADD', wip_key(Q), unpack(taken, k, math.min(k + 499, #taken)))
  end
  taken = {}
end
if #jobs == 0 and #dropped == 0 and trouble then return redis.error_reply(trouble) end

if #jobs > 0 then
  local executions = worker_key(W) .. ':executions'
  for k = 1, #held, 500 do redis.call('SADD', executions, unpack(held, k, math.min(k + 499, #held))) end
  redis.call('EXPIRE', executions, int(worker_ttl))
  -- A record that expired is written anew by the next heartbeat, whole.
  if redis.call('EXPIRE', worker_key(W), int(worker_ttl)) == 1 then
    redis.call('HSET', worker_key(W), 'state', 'busy', 'current_job', jobs[1][2], 'current_job_working_time', '0',
      'last_heartbeat', now_iso)
  end
end
return {0, jobs, dropped}
