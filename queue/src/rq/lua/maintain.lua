-- Puts right what crashes and time leave behind, for each queue: lapsed leases, due jobs; less often stranded
-- intermediate entries, expired registry entries, dead workers. Every step is atomic, so any number of workers (and
-- RQ's own maintenance) may do it at once.
-- ARGV: prefix, worker, failure ttl, max attempts, backoff, max backoff, random number in [0, 1), how many at once,
--       seconds between sweeps, substitute data and error text for a missing record, error text of a crash that is
--       tried again, error text of one that is not, queue names...
local default_failure_ttl, max_attempts = tonumber(ARGV[3]), tonumber(ARGV[4])
local backoff, max_backoff, random = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local limit, sweep_every = tonumber(ARGV[8]), tonumber(ARGV[9])
local missing_data, missing_text, crash_text, abandoned_text = ARGV[10], ARGV[11], ARGV[12], ARGV[13]
-- Seconds after which a job between a Python worker's list and its start is taken for stranded; RQ's own number.
local STRANDED = 60
-- A Python scheduler that holds the lock moves due jobs every second; after this we do it in its place.
local SCHEDULER_GRACE = 3
-- RQ 2.x schedules an id before it writes the record.
local RECORD_GRACE = 60
local reclaimed, abandoned, due, expired, full = 0, 0, 0, 0, 0
local webhooks = {}

-- Different for each job, the same for nobody to predict: jitter without a random source in here.
local function jitter(J)
  local h = tonumber(string.sub(redis.sha1hex(J .. ARGV[7]), 1, 8), 16) / 4294967296
  return 0.5 + h / 2
end

local function backoff_seconds(J, attempts)
  return math.min(backoff * 2 ^ math.max(attempts - 1, 0), max_backoff) * jitter(J)
end

local function in_list(key, J) return redis.call('LPOS', key, J) end

-- Our execution ids have an 8 where a random UUID has its version, a 4; ours were counted when they were claimed.
local function is_ours(E) return string.sub(E, 13, 13) == '8' and #E == 32 end

local function crashed(J, Q, E, job)
  local attempts = tonumber(job.jobqueue_attempts or '') or 0
  if not is_ours(E) then attempts = attempts + 1 end
  local crashes = (tonumber(job.jobqueue_crashes or '') or 0) + 1
  redis.call('HSET', job_key(J), 'jobqueue_attempts', int(attempts), 'jobqueue_crashes', int(crashes))
  local delay = nil
  if attempts < max_attempts then
    -- The first time at once and at the head, where it was; then with growing distance.
    delay = crashes > 1 and backoff_seconds(J, crashes - 1) or 0
  end
  local retries = tonumber(job.retries_left or '')
  local final = delay == nil
  if retries ~= nil then final = retries <= 0 end
  local run = {text = final and abandoned_text or crash_text, ended_iso = now_iso}
  if fail(J, Q, job, run, delay, true, default_failure_ttl) == 'failed' then
    abandoned = abandoned + 1
    if job.webhooks then
      local data = redis.call('HGET', job_key(J), 'data') or ''
      webhooks[#webhooks + 1] = {J, data, job.enqueued_at or '', job.webhooks}
    end
  else
    reclaimed = reclaimed + 1
  end
end

local function reclaim(member, Q)
  redis.call('ZREM', wip_key(Q), member)
  -- The last colon separates: ids of old RQ versions may hold some. RQ 1.x had no execution id at all.
  local J, E = string.match(member, '^(.*):([^:]*)$')
  if not J then J, E = member, '' end
  local worker = redis.call('HGET', job_key(J), 'worker_name')
  forget_execution(J, E, Q, worker)
  local job = read_job(J)
  if not job or live_execution(J, Q, E) then
    expired = expired + 1
  elseif job.status == 'started' then
    crashed(J, Q, E, job)
  elseif job.status == 'queued' and not in_list(queue_key(Q), J) then
    -- Its worker died after the lease and before the start; with several queues RQ itself loses such a job.
    redis.call('LREM', queue_key(Q) .. ':intermediate', 0, J)
    push(Q, J, true)
    reclaimed = reclaimed + 1
  else
    expired = expired + 1
  end
end

local function come_due(J, score, Q)
  local f = redis.call('HMGET', job_key(J), 'created_at', 'status', 'rate_limit_key', 'rate_limit_concurrency',
    'enqueue_at_front')
  if not f[1] then
    if now - score < RECORD_GRACE then return end
    redis.call('ZREM', scheduled_key(Q), J)
    bury_missing(J, Q, missing_data, missing_text)
    expired = expired + 1
    return
  end
  redis.call('ZREM', scheduled_key(Q), J)
  if f[2] ~= 'scheduled' then
    expired = expired + 1
    return
  end
  enqueue(J, Q, f[5] == '1', f[3], f[4])
  due = due + 1
end

local function rescue(J, Q)
  local list = queue_key(Q) .. ':intermediate'
  local status = redis.call('HGET', job_key(J), 'status')
  if not status then
    redis.call('LREM', list, 0, J)
    bury_missing(J, Q, missing_data, missing_text)
    expired = expired + 1
    return
  end
  if live_execution(J, Q, '') then return end
  local seen = list .. ':first_seen:' .. J
  redis.call('SET', seen, now_float, 'NX', 'EX', 86400)
  if now - (tonumber(redis.call('GET', seen)) or now) < STRANDED then return end
  redis.call('LREM', list, 0, J)
  redis.call('DEL', seen)
  if status == 'queued' or status == 'started' then
    if not in_list(queue_key(Q), J) then
      redis.call('HSET', job_key(J), 'status', 'queued')
      push(Q, J, true)
      reclaimed = reclaimed + 1
    end
  else
    expired = expired + 1
  end
end

-- RQ 3.0: dependents whose way from deferred to queued was cut short.
local function enqueue_ready(J, Q)
  redis.call('ZREM', P .. ':ready:' .. Q, J)
  local f = redis.call('HMGET', job_key(J), 'status', 'enqueue_at_front', 'rate_limit_key', 'rate_limit_concurrency')
  if f[1] == 'ready_to_enqueue' then enqueue(J, Q, f[2] == '1', f[3], f[4]) end
end

-- One bad entry must not stop the rest; what cannot be handled leaves the registry.
local function each(ids, Q, key, step)
  for _, id in ipairs(ids) do
    local ok, err = pcall(step, id, Q)
    if not ok then
      redis.log(redis.LOG_WARNING, 'jobqueue: ' .. key .. ' ' .. id .. ': ' .. message(err))
      pcall(redis.call, 'ZREM', key, id)
      expired = expired + 1
    end
  end
end

local function execution_of(member) return string.match(member, '([^:]*)$') end

local function every_time(Q)
  local lapsed = redis.call('ZRANGEBYSCORE', wip_key(Q), 0, now, 'LIMIT', 0, limit)
  if #lapsed == limit then full = 1 end
  -- From the last to the first: each goes to the head, and the first claimed must end up first. The execution ids of
  -- one claim count upwards.
  table.sort(lapsed, function(a, b) return execution_of(a) > execution_of(b) end)
  each(lapsed, Q, wip_key(Q), reclaim)

  local until_ = now
  if redis.call('EXISTS', P .. ':scheduler-lock:' .. Q) == 1 then until_ = now - SCHEDULER_GRACE end
  local found = redis.call('ZRANGEBYSCORE', scheduled_key(Q), 0, until_, 'WITHSCORES', 'LIMIT', 0, limit)
  for i = 1, #found, 2 do
    local ok, err = pcall(come_due, found[i], tonumber(found[i + 1]), Q)
    if not ok then
      redis.log(redis.LOG_WARNING, 'jobqueue: scheduled ' .. found[i] .. ': ' .. message(err))
      pcall(redis.call, 'ZREM', scheduled_key(Q), found[i])
    end
  end
  if #found == 2 * limit then full = 1 end
end

local function sweep(Q)
  each(redis.call('LRANGE', queue_key(Q) .. ':intermediate', 0, 999), Q, '', rescue)
  each(redis.call('ZRANGEBYSCORE', P .. ':ready:' .. Q, 0, now - 5, 'LIMIT', 0, limit), Q, P .. ':ready:' .. Q,
    enqueue_ready)
  expired = expired + redis.call('ZREMRANGEBYSCORE', finished_key(Q), 0, now)
  expired = expired + redis.call('ZREMRANGEBYSCORE', failed_key(Q), 0, now)
  for _, worker in ipairs(redis.call('SMEMBERS', P .. ':workers:' .. Q)) do
    if redis.call('EXISTS', worker) == 0 then
      redis.call('SREM', P .. ':workers:' .. Q, worker)
      redis.call('SREM', P .. ':workers', worker)
    end
  end
end

local function attempt(step, Q)
  local ok, err = pcall(step, Q)
  if not ok then redis.log(redis.LOG_WARNING, 'jobqueue: maintenance of ' .. Q .. ': ' .. message(err)) end
end

for i = 14, #ARGV do
  local Q = ARGV[i]
  attempt(every_time, Q)
  if redis.call('SET', P .. ':jobqueue:swept:' .. Q, W, 'NX', 'EX', int(sweep_every)) then attempt(sweep, Q) end
end
if redis.call('SET', P .. ':jobqueue:swept', W, 'NX', 'EX', int(sweep_every * 3)) then pcall(sweep_prefix) end
return {reclaimed, abandoned, due, expired, full, webhooks}
