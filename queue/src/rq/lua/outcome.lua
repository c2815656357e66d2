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

-- Puts a job that holds no slot on its queue, or in line for one. `at` is the time of queueing where that is not now.
local function enqueue(J, Q, at_front, K, concurrency, at)
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
  redis.call('HSET', job_key(J), 'status', 'queued', 'enqueued_at', at or now_iso)
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

-- How many dependents one script queues: another client waits for it.
local DEPENDENTS_AT_ONCE = 500

-- Queues a job that waited for `parent`, if it waits for nothing else.
local function enqueue_dependent(D, parent, parent_status)
  local f = redis.call('HMGET', job_key(D), 'status', 'origin', 'enqueue_at_front', 'allow_dependency_failures',
    'rate_limit_key', 'rate_limit_concurrency')
  if f[1] ~= 'deferred' or not f[2] or not dependent_is_ready(D, parent, parent_status, f[4] == '1') then return false end
  redis.call('ZREM', deferred_key(f[2]), D)
  redis.call('SREM', dependents_key(parent), D)
  enqueue(D, f[2], f[3] == '1', f[5], f[6])
  return true
end

-- Queues the jobs that waited for this one. Gives how many are left, and whether maintenance goes on with a large number
-- of them; `ttl` is the lifetime of the parent's keys then.
local function enqueue_dependents(J, parent_status, ttl)
  local count = redis.call('SCARD', dependents_key(J))
  if count == 0 then return 0, false end
  if count > DEPENDENTS_AT_ONCE then
    redis.call('HSET', P .. ':jobqueue:dependents', J, '0 ' .. int(ttl) .. ' ' .. parent_status)
    redis.call('PERSIST', dependents_key(J))
    return count, true
  end
  local left = count
  for _, D in ipairs(redis.call('SMEMBERS', dependents_key(J))) do
    if enqueue_dependent(D, J, parent_status) then left = left - 1 end
  end
  return left, false
end

-- RQ's Job.cleanup: the lifetime of a job that is over. The results stream has its own.
local function expire_job(J, job, ttl, has_dependents)
  local keys = {job_key(J)}
  if has_dependents then keys[#keys + 1] = dependents_key(J) end
  if job.dependency_id or job.dependency_ids then keys[#keys + 1] = dependencies_key(J) end
  if ttl == 0 then
    -- With the results of earlier attempts.
    redis.call('DEL', results_key(J), unpack(keys))
  elseif ttl > 0 then
    for _, key in ipairs(keys) do redis.call('EXPIRE', key, int(ttl)) end
  end
end

local function add_result(J, kind, ttl, fields)
  redis.call('XADD', results_key(J), 'MAXLEN', '~', '10', '*', 'type', kind, 'worker_name', W, unpack(fields))
  if ttl > 0 then redis.call('EXPIRE', results_key(J), int(ttl)) else redis.call('PERSIST', results_key(J)) end
end

-- The queue whose registries a job belongs to.
local function home(job, Q)
  if job.origin and job.origin ~= '' then return job.origin end
  return Q
end

local function finished_fields(run)
  local fields = {'execution_id', run.execution, 'execution_started_at', run.started, 'execution_ended_at', run.ended}
  if run.text ~= '' then fields[7], fields[8] = 'return_value', run.text end
  return fields
end

local function failed_fields(run)
  local fields = {'exc_string', run.text}
  if run.execution then
    fields = {'exc_string', run.text, 'execution_id', run.execution, 'execution_started_at', run.started,
      'execution_ended_at', run.ended}
  end
  return fields
end

-- The end of a job that will not run again. `status` is failed or stopped. The registry is that of the queue the job was
-- made for, wherever it was moved: there RQ looks for it. The run keeps its identity: it may be asked for once more.
local function bury(J, Q, job, run, status, default_ttl)
  local ttl = tonumber(job.failure_ttl or '') or default_ttl
  redis.call('HSET', job_key(J), 'status', status, 'ended_at', run.ended_iso, 'last_heartbeat', now_iso,
    'jobqueue_attempts', '0', 'jobqueue_crashes', '0', 'jobqueue_execution', '')
  if ttl ~= 0 then
    -- A negative lifetime is the score itself in RQ: never expired by maintenance.
    redis.call('ZADD', failed_key(home(job, Q)), int(ttl < 0 and ttl or now + ttl), J)
    add_result(J, '2', ttl, failed_fields(run))
  end
  local left, later = 0, false
  if status == 'failed' then
    left, later = enqueue_dependents(J, status, ttl)
  else
    left = redis.call('EXISTS', dependents_key(J))
  end
  expire_job(J, job, ttl, left > 0 and not later)
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

-- Ids without a record (expired, evicted, deleted): RQ forgets them silently. Here they are counted and the last of them
-- named; nothing is written under the producer's id, which may be in use again.
local function note_gone(Q, ids)
  if #ids == 0 then return end
  for _, J in ipairs(ids) do redis.call('ZADD', gone_key(Q), now_float, J) end
  redis.call('ZREMRANGEBYRANK', gone_key(Q), 0, -1001)
  redis.call('EXPIRE', gone_key(Q), 604800)
  redis.call('HINCRBY', P .. ':jobqueue:gone', Q, #ids)
end

-- Removes every trace of one execution.
local function forget_execution(J, E, Q, worker)
  redis.call('DEL', execution_key(J, E))
  forget_copy(E)
  redis.call('ZREM', executions_key(J), E)
  redis.call('ZREM', wip_key(Q), J .. ':' .. E)
  if worker and worker ~= '' then redis.call('SREM', worker_key(worker) .. ':executions', J .. ':' .. E) end
end

-- What one of our executions runs is kept beside the job's record, which the producer may write over: in one hash for all
-- that were claimed together, with two fields each: a text with a part a line, and the payload.
local function packed(head, f, attempts)
  local of, run = f.of, f.run
  if string.find(run, '\n', 1, true) then of, run = string.gsub(of, '\n', ' '), string.gsub(run, '\n', ' ') end
  return head .. text_of(attempts) .. '\n' .. text_of(f.crashes) .. '\n' .. (f.timeout or '') .. '\n' .. (f.retries or '') .. '\n' .. of .. '\n'
    .. run
end

local PART = '([^\n]*)\n'
local PARTS = '^' .. string.rep(PART, 7) .. '(.*)$'

-- Without a run where there is none, or where it is not one of ours.
local function read_execution(E)
  local text = is_ours(E) and redis.call('HGET', held_key(E), number_of(E))
  if not text then return {} end
  local Q, lease, attempts, crashes, timeout, retries, of, run = string.match(text, PARTS)
  local data = redis.call('HGET', held_key(E), number_of(E) .. 'd') or ''
  return {queue = Q, lease = tonumber(lease), attempts = tonumber(attempts) or 0, crashes = tonumber(crashes) or 0,
    timeout = timeout, retries = retries ~= '' and retries or nil, of = of, run = run, data = data}
end

-- The execution of J that is alive, other than E; on another queue too, where it is one of ours.
local function live_execution(J, Q, E)
  for _, other in ipairs(redis.call('ZRANGE', executions_key(J), 0, -1)) do
    if other ~= E then
      local score = tonumber(redis.call('ZSCORE', wip_key(Q), J .. ':' .. other) or '')
      if not score then
        local elsewhere = read_execution(other).queue
        if elsewhere and elsewhere ~= Q then
          score = tonumber(redis.call('ZSCORE', wip_key(elsewhere), J .. ':' .. other) or '')
        end
      end
      if score and lease_end(score) > now then return other end
    end
  end
  return nil
end

-- Whether one of ours has a lease on J, also one that has lapsed and is not taken back yet.
local function is_held(J, Q)
  for _, E in ipairs(redis.call('ZRANGE', executions_key(J), 0, -1)) do
    if is_ours(E) and redis.call('ZSCORE', wip_key(Q), J .. ':' .. E) then return true end
  end
  return false
end

local RUN = {'run', 'of', 'data', 'timeout', 'attempts', 'crashes', 'retries'}

local function read_hash_of_run(key)
  local f = redis.call('HMGET', key, unpack(RUN))
  return {run = f[1] or nil, of = f[2] or nil, data = f[3] or nil, timeout = f[4] or nil,
    attempts = tonumber(f[5] or '') or 0, crashes = tonumber(f[6] or '') or 0, retries = f[7] or nil}
end

local function keep_run(J, x)
  redis.call('HSET', run_key(J, x.run), 'run', x.run, 'of', x.of or '', 'data', x.data or '', 'timeout',
    x.timeout or '', 'attempts', int(x.attempts), 'crashes', int(x.crashes), 'retries', x.retries or '')
end

-- A run that is not over, and whose record is that of a newer one by now: before that, after `delay` seconds.
local function bring_back(J, Q, x, delay)
  keep_run(J, x)
  redis.call('LPUSH', behind_key(Q, J), x.run)
  redis.call('ZADD', aside_key(Q), string.format('%.6f', now + micros / 1e6 + delay), J)
end

-- An id that came back while an earlier run of it is not over: a copy of its record, to be claimed after that. The job's
-- record belongs to this run from now on.
local function set_aside(J, Q, f)
  keep_run(J, {run = f.run, of = f.of, data = f.data, timeout = f.timeout, attempts = 0, crashes = 0, retries = f.retries})
  redis.call('RPUSH', behind_key(Q, J), f.run)
  redis.call('ZADD', aside_key(Q), 'NX', now_float, J)
  redis.call('HSET', job_key(J), 'jobqueue_run', f.run, 'jobqueue_of', f.of, 'jobqueue_execution', '',
    'jobqueue_attempts', '0', 'jobqueue_crashes', '0')
end

-- What failed for good while the record was overwritten or went becomes a job of its own in the failed registry, with its own
-- data, under the id with a suffix: it can be looked at and requeued, and is still the same run.
local function bury_old_run(J, Q, run, x, status, ttl)
  local own = J .. '-' .. string.sub(redis.sha1hex(x.run .. x.of), 1, 8)
  local created_at, enqueued_at = string.match(x.of or '', '^(%S*) (.*)$')
  redis.call('HSET', job_key(own), 'created_at', created_at or now_iso, 'enqueued_at', enqueued_at or now_iso, 'data',
    x.data or '', 'status', status, 'origin', Q, 'description', 'an earlier run of ' .. J, 'started_at', '', 'ended_at',
    run.ended_iso or now_iso, 'last_heartbeat', now_iso, 'worker_name', W, 'group_id', '', 'success_callback_name', '',
    'failure_callback_name', '', 'stopped_callback_name', '', 'timeout', (x.timeout and x.timeout ~= '') and x.timeout or '180',
    'jobqueue_run', x.run, 'jobqueue_of', x.of or '', 'jobqueue_attempts', '0')
  redis.call('EXPIRE', job_key(own), int(ttl))
  redis.call('ZADD', failed_key(Q), int(now + ttl), own)
  add_result(own, '2', ttl, failed_fields(run))
end

-- The end of a run whose job's record is a newer run's by now: its result is added to those of the id.
local function end_old_run(J, Q, run, x, status, default_ttl)
  if status ~= 'finished' then
    bury_old_run(J, Q, run, x, status, default_ttl)
    return
  end
  redis.call('XADD', results_key(J), 'MAXLEN', '~', '10', '*', 'type', '1', 'worker_name', W, unpack(finished_fields(run)))
  if redis.call('TTL', results_key(J)) < 0 then redis.call('EXPIRE', results_key(J), int(default_ttl)) end
end
