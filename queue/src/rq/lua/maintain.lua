-- Puts right what crashes and time leave behind, for each queue: lapsed leases, due jobs; less often stranded
-- intermediate entries, expired registry entries, dead workers. Every step is atomic, so any number of workers (and
-- RQ's own maintenance) may do it at once.
-- ARGV and answer: maintain.rs.
local default_failure_ttl, max_attempts = tonumber(ARGV[3]), tonumber(ARGV[4])
local backoff, max_backoff, random = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local limit, clean_every = tonumber(ARGV[8]), tonumber(ARGV[9])
local crash_text, abandoned_text, lease = ARGV[10], ARGV[11], tonumber(ARGV[12])
-- Seconds after which a job between a Python worker's list and its start is taken for stranded; RQ's own number.
local STRANDED = 60
-- A Python scheduler that holds the lock moves due jobs every second; after this we do it in its place.
local SCHEDULER_GRACE = 3
-- RQ 2.x schedules an id before it writes the record; for that moment there is none, or that of an earlier run.
local RECORD_GRACE = 60
local STATUS_GRACE = 3
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

-- The worker of a run died after its producer had written over the record.
local function crashed_old_run(J, Q, job, x)
  x.crashes = x.crashes + 1
  if job.jobqueue_run == x.run then redis.call('HSET', job_key(J), 'jobqueue_run', '') end
  if x.attempts < max_attempts then
    bring_back(J, Q, x, x.crashes > 1 and backoff_seconds(J, x.crashes - 1) or 0)
    reclaimed = reclaimed + 1
  else
    end_old_run(J, Q, {text = abandoned_text}, x, 'failed', default_failure_ttl)
    abandoned = abandoned + 1
  end
end

-- The lease goes last: what is refused before leaves it in place.
local function reclaim(member, Q)
  -- The last colon separates: ids of old RQ versions may hold some. RQ 1.x had no execution id at all.
  local J, E = string.match(member, '^(.*):([^:]*)$')
  if not J then J, E = member, '' end
  -- Needed last, and tried first: what is put back once must not be put back again.
  redis.call('DEL', execution_key(J, 'none'))
  local job = read_job(J)
  local worker = redis.call('HGET', execution_key(J, E), 'worker_name') or redis.call('HGET', job_key(J), 'worker_name')
  local x = read_execution(E)
  local own = job and (not x.run or is_owner(job, E))
  local live = job and live_execution(J, Q, E)
  if not job and x.run then
    -- Its record expired or was evicted meanwhile.
    crashed_old_run(J, Q, {}, x)
  elseif not job then
    expired = expired + 1
  elseif not own and version(job.created_at, job.enqueued_at) ~= x.of then
    crashed_old_run(J, Q, job, x)
  elseif not own and job.status == 'queued' and job.jobqueue_run == x.run and not live and not in_list(queue_key(Q), J) then
    -- Given back by a script that was refused the push.
    push(Q, J, true)
    reclaimed = reclaimed + 1
  elseif not own then
    -- Settled already, or in other hands.
    expired = expired + 1
  elseif live then
    expired = expired + 1
  elseif job.status == 'started' then
    crashed(J, Q, E, job)
  elseif job.status == 'queued' and not in_list(queue_key(Q), J) then
    -- Its worker died after the lease and before the start; with several queues RQ itself loses such a job.
    push(Q, J, true)
    redis.call('LREM', queue_key(Q) .. ':intermediate', 0, J)
    reclaimed = reclaimed + 1
  else
    expired = expired + 1
  end
  forget_execution(J, E, Q, worker)
  if E == '' then redis.call('ZREM', wip_key(Q), member) end
end

local function come_due(J, Q)
  local f = redis.call('HMGET', job_key(J), 'data', 'status', 'rate_limit_key', 'rate_limit_concurrency',
    'enqueue_at_front')
  local since = now - (tonumber(redis.call('ZSCORE', scheduled_key(Q), J) or '') or 0)
  if not f[1] then
    if since < RECORD_GRACE then return end
    redis.call('ZREM', scheduled_key(Q), J)
    note_gone(Q, {J})
    expired = expired + 1
    return
  end
  if f[2] == 'scheduled' then
    -- Queued when it came due, whoever finds that when: the time is a part of what tells its run from others.
    local due_at = tonumber(redis.call('ZSCORE', scheduled_key(Q), J) or '') or now
    enqueue(J, Q, f[5] == '1', f[3], f[4], iso(due_at, 0))
    due = due + 1
  elseif since < STATUS_GRACE then
    return
  else
    expired = expired + 1
  end
  redis.call('ZREM', scheduled_key(Q), J)
end

local function rescue(J, Q)
  local list = queue_key(Q) .. ':intermediate'
  local status = redis.call('HGET', job_key(J), 'status')
  if not status then
    redis.call('LREM', list, 0, J)
    note_gone(Q, {J})
    expired = expired + 1
    return
  end
  if live_execution(J, Q, '') then return end
  local seen = list .. ':first_seen:' .. J
  redis.call('SET', seen, now_float, 'NX', 'EX', 86400)
  if now - (tonumber(redis.call('GET', seen)) or now) < STRANDED then return end
  if status == 'queued' or status == 'started' then
    if not in_list(queue_key(Q), J) then
      redis.call('HSET', job_key(J), 'status', 'queued')
      push(Q, J, true)
      reclaimed = reclaimed + 1
    end
  else
    expired = expired + 1
  end
  redis.call('LREM', list, 0, J)
  redis.call('DEL', seen)
end

-- RQ 3.0: dependents whose way from deferred to queued was cut short.
local function enqueue_ready(J, Q)
  local f = redis.call('HMGET', job_key(J), 'status', 'enqueue_at_front', 'rate_limit_key', 'rate_limit_concurrency')
  if f[1] == 'ready_to_enqueue' then enqueue(J, Q, f[2] == '1', f[3], f[4]) end
  redis.call('ZREM', P .. ':ready:' .. Q, J)
end

-- One bad entry must not stop the rest; what cannot be handled leaves the registry. What the world refuses stays where it
-- was, and ends the script.
local function each(ids, Q, key, step)
  for _, id in ipairs(ids) do
    local ok, err = pcall(step, id, Q)
    if not ok then
      local text = message(err)
      if is_worlds(text) then error(text, 0) end
      redis.log(redis.LOG_WARNING, 'jobqueue: ' .. key .. ' ' .. id .. ': ' .. text)
      if key ~= '' then pcall(redis.call, 'ZREM', key, id) end
      expired = expired + 1
    end
  end
end

local function execution_of(member) return string.match(member, '([^:]*)$') end

local function every_time(Q)
  local lapsed = redis.call('ZRANGEBYSCORE', wip_key(Q), OURS, int(OURS + now), 'LIMIT', 0, limit)
  if #lapsed < limit then
    for _, member in ipairs(redis.call('ZRANGEBYSCORE', wip_key(Q), 0, now, 'LIMIT', 0, limit - #lapsed)) do
      lapsed[#lapsed + 1] = member
    end
  end
  if #lapsed == limit then full = 1 end
  -- From the last to the first: each goes to the head, and the first claimed must end up first. The execution ids of
  -- one claim count upwards.
  table.sort(lapsed, function(a, b) return execution_of(a) > execution_of(b) end)
  each(lapsed, Q, wip_key(Q), reclaim)

  local until_ = now
  if redis.call('EXISTS', P .. ':scheduler-lock:' .. Q) == 1 then until_ = now - SCHEDULER_GRACE end
  local found = redis.call('ZRANGEBYSCORE', scheduled_key(Q), 0, until_, 'LIMIT', 0, limit)
  if #found == limit then full = 1 end
  each(found, Q, scheduled_key(Q), come_due)
end

-- A lease that ends later than its own length from now is from before Redis's clock was set back. Its owner, if there is
-- one, renews it with its next heartbeat.
local function pull_in(Q)
  local late = redis.call('ZRANGEBYSCORE', wip_key(Q), int(OURS + now + lease + 2), '(inf', 'LIMIT', 0, 500)
  for _, member in ipairs(late) do
    local J, E = string.match(member, '^(.*):([^:]*)$')
    local own = J and read_execution(E).lease
    if own and tonumber(redis.call('ZSCORE', wip_key(Q), member)) > OURS + now + own + 2 then
      redis.call('ZADD', wip_key(Q), 'XX', int(OURS + now + own + 1), member)
    end
  end
end

local function clean_registries(Q)
  pull_in(Q)
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

-- Dependents of a job that has very many of them, a portion at a time.
local function enqueue_more_dependents(J, text)
  local list = P .. ':jobqueue:dependents'
  local cursor, ttl, status = string.match(text, '^(%d+) (-?%d+) (%a+)$')
  local answer = redis.call('SSCAN', dependents_key(J), cursor, 'COUNT', DEPENDENTS_AT_ONCE)
  for _, D in ipairs(answer[2]) do
    local ok, err = pcall(enqueue_dependent, D, J, status)
    if not ok and is_worlds(message(err)) then error(message(err), 0) end
  end
  if answer[1] ~= '0' then
    redis.call('HSET', list, J, answer[1] .. ' ' .. ttl .. ' ' .. status)
    full = 1
    return
  end
  redis.call('HDEL', list, J)
  ttl = tonumber(ttl)
  if ttl == 0 then redis.call('DEL', dependents_key(J)) end
  if ttl > 0 then redis.call('EXPIRE', dependents_key(J), int(ttl)) end
end

local trouble
-- Needs no memory, and lets Redis pass the rest.
redis.call('PERSIST', P .. ':jobqueue:life')
local function attempt(step, ...)
  local ok, err = pcall(step, ...)
  if ok then return end
  local text = message(err)
  redis.log(redis.LOG_WARNING, 'jobqueue: maintenance of ' .. tostring((...)) .. ': ' .. text)
  if is_worlds(text) then trouble = text end
end

for i = 13, #ARGV do
  local Q = ARGV[i]
  attempt(every_time, Q)
  if redis.call('SET', P .. ':jobqueue:swept:' .. Q, W, 'NX', 'EX', int(clean_every)) then attempt(clean_registries, Q) end
end
local parents = redis.call('HGETALL', P .. ':jobqueue:dependents')
for i = 1, math.min(#parents, 8), 2 do attempt(enqueue_more_dependents, parents[i], parents[i + 1]) end
if redis.call('SET', P .. ':jobqueue:swept', W, 'NX', 'EX', int(clean_every * 3)) then pcall(clean_prefix) end
if trouble and reclaimed + abandoned + due == 0 then return redis.error_reply(trouble) end
-- Ids that came back and whose turn it may be.
local waits = 0
for i = 13, #ARGV do waits = waits + redis.call('ZCOUNT', aside_key(ARGV[i]), '-inf', now_float) end
return {reclaimed, abandoned, due, expired, full, webhooks, waits}
