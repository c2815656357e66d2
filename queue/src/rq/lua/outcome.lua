-- What becomes of a job after a run: shared by settling and by reclaiming.

-- `at_front` as RQ stores flags.
local function push(Q, J, at_front)
  if at_front then redis.call('LPUSH', queue_key(Q), J) else redis.call('RPUSH', queue_key(Q), J) end
end

-- RQ 3.0: fills free slots of a rate limit with waiting jobs, oldest first.
local function fill_slots(K, concurrency)
  local allowed, waiting = P .. ':rl:' .. K .. ':allowed', P .. ':rl:' .. K .. ':rate_limited'
  while redis.call('ZCARD', allowed) < concurrency do
    local popped = redis.call('ZPOPMIN', waiting)
    if #popped == 0 then return end
    local J = popped[1]
    local f = redis.call('HMGET', job_key(J), 'origin', 'status', 'enqueue_at_front')
    if f[1] and f[2] == 'rate_limited' then
      redis.call('ZADD', allowed, now_float, J)
      redis.call('HSET', job_key(J), 'status', 'queued', 'enqueued_at', now_iso)
      push(f[1], J, f[3] == '1')
    end
  end
end

-- RQ 3.0: whatever ends a run, other than being queued again, frees the job's slot.
local function release_slot(J, job)
  local K = job.rate_limit_key
  if K == nil or K == '' then return end
  redis.call('ZREM', P .. ':rl:' .. K .. ':allowed', J)
  local concurrency = tonumber(redis.call('HGET', P .. ':rl:' .. K, 'concurrency') or 0)
  fill_slots(K, concurrency or 0)
end

-- Puts a job that holds no slot on its queue, or in line for one.
local function enqueue(J, Q, at_front, K, concurrency)
  redis.call('SADD', P .. ':queues', queue_key(Q))
  concurrency = tonumber(concurrency or '')
  if K and K ~= '' and concurrency and concurrency > 0 then
    redis.call('SADD', P .. ':rl-keys', K)
    redis.call('HSET', P .. ':rl:' .. K, 'concurrency', int(concurrency))
    redis.call('HSET', job_key(J), 'status', 'rate_limited')
    if at_front then redis.call('HSET', job_key(J), 'enqueue_at_front', '1') end
    redis.call('ZADD', P .. ':rl:' .. K .. ':rate_limited', now_float, J)
    fill_slots(K, concurrency)
    return
  end
  redis.call('HSET', job_key(J), 'status', 'queued', 'enqueued_at', now_iso)
  push(Q, J, at_front)
end

local function schedule(J, Q, at)
  redis.call('HSET', job_key(J), 'status', 'scheduled')
  redis.call('ZADD', scheduled_key(Q), int(at), J)
  redis.call('SADD', P .. ':queues', queue_key(Q))
end

-- RQ's rule: the list is read from the front, padded there when it is shorter than the retries.
local function retry_interval(retries_left, text)
  local ok, intervals = pcall(cjson.decode, text or '[]')
  if not ok or type(intervals) ~= 'table' or #intervals == 0 then return 0 end
  return tonumber(intervals[math.max(#intervals - retries_left, 0) + 1]) or 0
end

local function is_met(dependency, allow_failures)
  local status = redis.call('HGET', job_key(dependency), 'status')
  -- A record that is gone counts as met, in RQ too.
  return not status or status == 'finished' or (status == 'failed' and allow_failures)
end

local function dependent_is_ready(D, parent, parent_status, allow_failures)
  if parent_status == 'failed' and not allow_failures then return false end
  for _, dependency in ipairs(redis.call('SMEMBERS', dependencies_key(D))) do
    if dependency ~= parent and not is_met(dependency, allow_failures) then return false end
  end
  return true
end

-- Queues the jobs that waited for this one and for nothing else.
local function enqueue_dependents(J, parent_status)
  local left = 0
  for _, D in ipairs(redis.call('SMEMBERS', dependents_key(J))) do
    left = left + 1
    local f = redis.call('HMGET', job_key(D), 'status', 'origin', 'enqueue_at_front', 'allow_dependency_failures',
      'rate_limit_key', 'rate_limit_concurrency')
    if f[1] == 'deferred' and f[2] and dependent_is_ready(D, J, parent_status, f[4] == '1') then
      redis.call('ZREM', deferred_key(f[2]), D)
      redis.call('SREM', dependents_key(J), D)
      enqueue(D, f[2], f[3] == '1', f[5], f[6])
      left = left - 1
    end
  end
  return left
end

-- RQ's Job.cleanup: the lifetime of a job that is over. The results stream has its own.
local function expire_job(J, job, ttl, has_dependents)
  local keys = {job_key(J)}
  if has_dependents then keys[#keys + 1] = dependents_key(J) end
  if job.dependency_id or job.dependency_ids then keys[#keys + 1] = dependencies_key(J) end
  if ttl == 0 then
    redis.call('DEL', unpack(keys))
  elseif ttl > 0 then
    for _, key in ipairs(keys) do redis.call('EXPIRE', key, int(ttl)) end
  end
end

local function add_result(J, kind, ttl, fields)
  redis.call('XADD', results_key(J), 'MAXLEN', '~', '10', '*', 'type', kind, 'worker_name', W, unpack(fields))
  if ttl > 0 then redis.call('EXPIRE', results_key(J), int(ttl)) else redis.call('PERSIST', results_key(J)) end
end

local function failed_fields(run)
  local fields = {'exc_string', run.text}
  if run.execution then
    fields = {'exc_string', run.text, 'execution_id', run.execution, 'execution_started_at', run.started,
      'execution_ended_at', run.ended}
  end
  return fields
end

-- The end of a job that will not run again. `status` is failed or stopped.
local function bury(J, Q, job, run, status, default_ttl)
  local ttl = tonumber(job.failure_ttl or '') or default_ttl
  redis.call('HSET', job_key(J), 'status', status, 'ended_at', run.ended_iso, 'last_heartbeat', now_iso,
    'jobqueue_attempts', '0', 'jobqueue_crashes', '0', 'jobqueue_execution', '')
  if ttl ~= 0 then
    -- A negative lifetime is the score itself in RQ: never expired by maintenance.
    redis.call('ZADD', failed_key(Q), int(ttl < 0 and ttl or now + ttl), J)
    add_result(J, '2', ttl, failed_fields(run))
  end
  local left = 0
  if status == 'failed' then
    left = enqueue_dependents(J, status)
  else
    left = redis.call('EXISTS', dependents_key(J))
  end
  expire_job(J, job, ttl, left > 0)
  release_slot(J, job)
end

-- An attempt is over. The producer's own retries decide where there are any; else ours, after `delay` seconds, where
-- it is not nil. Gives 'retried' or 'failed'.
local function fail(J, Q, job, run, delay, at_front, default_ttl)
  local retries = tonumber(job.retries_left or '')
  local ttl = tonumber(job.failure_ttl or '') or default_ttl
  if retries ~= nil then
    delay = nil
    if retries > 0 then
      delay = retry_interval(retries, job.retry_intervals)
      at_front = job.enqueue_at_front_on_retry == '1'
      redis.call('HSET', job_key(J), 'retries_left', int(retries - 1))
    end
  end
  if delay == nil then
    bury(J, Q, job, run, 'failed', default_ttl)
    return 'failed'
  end
  add_result(J, '2', ttl ~= 0 and ttl or default_ttl, failed_fields(run))
  redis.call('HSET', job_key(J), 'ended_at', run.ended_iso, 'jobqueue_execution', '')
  if delay > 0 then
    schedule(J, Q, math.ceil(now + micros / 1e6 + delay))
    release_slot(J, job)
  else
    -- Queued at once, the job keeps its slot.
    redis.call('HSET', job_key(J), 'status', 'queued', 'enqueued_at', now_iso)
    push(Q, J, at_front)
  end
  return 'retried'
end

-- A job whose record is gone (expired, evicted, deleted): RQ forgets it silently; we leave something to be found. The
-- record is short-lived, since producers may let jobs expire in great numbers on purpose.
local function bury_missing(J, Q, data, text)
  local ttl = 86400
  redis.call('HSET', job_key(J), 'created_at', now_iso, 'data', data, 'status', 'failed', 'origin', Q,
    'description', 'the record of this job is gone', 'started_at', '', 'ended_at', now_iso,
    'last_heartbeat', now_iso, 'worker_name', W, 'group_id', '', 'success_callback_name', '',
    'failure_callback_name', '', 'stopped_callback_name', '', 'timeout', '180')
  redis.call('EXPIRE', job_key(J), ttl)
  redis.call('ZADD', failed_key(Q), int(now + ttl), J)
  add_result(J, '2', ttl, {'exc_string', text})
end

-- Removes every trace of one execution.
local function forget_execution(J, E, Q, worker)
  redis.call('ZREM', wip_key(Q), J .. ':' .. E)
  redis.call('DEL', execution_key(J, E))
  redis.call('ZREM', executions_key(J), E)
  if worker and worker ~= '' then redis.call('SREM', worker_key(worker) .. ':executions', J .. ':' .. E) end
end

-- The execution of J that is alive, other than E.
local function live_execution(J, Q, E)
  for _, other in ipairs(redis.call('ZRANGE', executions_key(J), 0, -1)) do
    if other ~= E then
      local score = tonumber(redis.call('ZSCORE', wip_key(Q), J .. ':' .. other) or '')
      if score and score > now then return other end
    end
  end
  return nil
end
