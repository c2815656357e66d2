-- Records how runs ended. Each job by itself: where the lease is not ours any more nothing is touched, and it is given up
-- last.
-- ARGV and answer: settle.rs.
local worker_ttl, default_result_ttl, default_failure_ttl = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local answers, notices, released, settled = {}, {}, {}, {}
local succeeded, failed, trouble = 0, 0, nil
-- Asked for all at once: which leases are still ours, and whether any of the jobs has dependents at all.
local leased, some_have_dependents = {}, false
-- Leases to give up, by queue; and which those are.
local leases, over = {}, {}
-- What these runs ran is needed no more, by key; and keys of executions that ended.
local kept, ended = {}, {}

-- The list at `key`, which is made where there is none.
local function list_of(lists, key)
  local list = lists[key] or {}
  lists[key] = list
  return list
end

local function repeat_later(J, Q, job, repeats)
  local interval = 0
  local ok, intervals = pcall(cjson.decode, job.repeat_intervals or '[]')
  local fields = {'repeats_left', int(repeats - 1)}
  if ok and type(intervals) == 'table' and #intervals > 0 then
    interval = tonumber(intervals[1]) or 0
    if #intervals > 1 then
      table.remove(intervals, 1)
      fields[3], fields[4] = 'repeat_intervals', cjson.encode(intervals)
    end
  end
  redis.call('HSET', job_key(J), unpack(fields))
  if interval > 0 then
    schedule(J, Q, math.ceil(now + micros / 1e6 + interval))
    release_slot(J, job)
  else
    release_slot(J, job)
    enqueue(J, Q, false, job.rate_limit_key, job.rate_limit_concurrency)
  end
end

-- A repetition is a run of its own, named after the one before: a Redis that forgets the end of that one names it so again.
local function next_run(J, job)
  if (tonumber(job.repeats_left or '') or 0) <= 0 then return '' end
  local run = redis.call('HGET', job_key(J), 'jobqueue_run')
  return run and redis.sha1hex('after ' .. run) or ''
end

local function finish(J, Q, job, run)
  local ttl = tonumber(job.result_ttl or '') or default_result_ttl
  local next = next_run(J, job)
  -- A record that asks for no run starts over with the next enqueueing, its counts too.
  redis.call('HSET', job_key(J), 'status', 'finished', 'started_at', run.started_iso, 'ended_at', run.ended_iso,
    'last_heartbeat', now_iso, 'jobqueue_run', next)
  if next ~= '' then redis.call('HSET', job_key(J), 'jobqueue_attempts', '0', 'jobqueue_crashes', '0') end
  -- Workers of older versions tell runs apart by their number.
  if job.jobqueue_generation then
    redis.call('HSET', job_key(J), 'jobqueue_generation', int((tonumber(job.jobqueue_generation) or 0) + 1))
  end
  local left, later = 0, false
  if some_have_dependents then left, later = enqueue_dependents(J, 'finished', ttl) end
  if ttl ~= 0 then
    add_result(J, '1', ttl, finished_fields(run))
    redis.call('ZADD', finished_key(home(job, Q)), ttl > 0 and int(now + ttl) or '+inf', J)
  end
  local repeats = tonumber(job.repeats_left or '') or 0
  if repeats > 0 then
    repeat_later(J, Q, read_job(J), repeats)
  else
    expire_job(J, job, ttl, left > 0 and not later)
    release_slot(J, job)
  end
end

local function release(J, Q, job)
  local attempts = math.max((tonumber(job.jobqueue_attempts or '') or 0) - 1, 0)
  redis.call('HSET', job_key(J), 'status', 'queued', 'jobqueue_attempts', int(attempts), 'jobqueue_execution', '')
  released[#released + 1] = {Q, J}
end

local CALLBACKS = {finished = 'success_callback_name', failed = 'failure_callback_name',
  retried = 'failure_callback_name', stopped = 'stopped_callback_name'}

-- What is left for the caller to do or to say: post webhooks, tell of a Python callback that nobody ran.
local function notice(job, status)
  local webhooks = (status == 'finished' or status == 'failed') and job.webhooks or ''
  local callback = CALLBACKS[status] and job[CALLBACKS[status]] or ''
  if webhooks ~= '' or callback ~= '' then notices[#notices + 1] = {#answers, webhooks, callback} end
end

-- The producer enqueued the id again during the run: the record is the newer run's.
local function settle_old_run(outcome, Q, J, job, run, delay, x)
  if redis.call('HGET', job_key(J), 'jobqueue_run') == x.run then redis.call('HSET', job_key(J), 'jobqueue_run', '') end
  if outcome == 'finished' then
    succeeded = succeeded + 1
  elseif outcome == 'released' then
    x.attempts = math.max(x.attempts - 1, 0)
    bring_back(J, Q, x, 0)
    return outcome
  else
    failed = failed + 1
    if outcome == 'failed' and delay then
      bring_back(J, Q, x, delay)
      return 'retried'
    end
  end
  end_old_run(J, Q, run, x, outcome, default_failure_ttl)
  return outcome
end

local function settle_own(outcome, Q, J, job, run, delay)
  local status = outcome
  if outcome == 'finished' then
    finish(J, Q, job, run)
    succeeded = succeeded + 1
  elseif outcome == 'released' then
    release(J, Q, job)
  elseif outcome == 'stopped' then
    bury(J, Q, job, run, 'stopped', default_failure_ttl)
    failed = failed + 1
  else
    status = fail(J, Q, job, run, delay, false, default_failure_ttl)
    failed = failed + 1
  end
  notice(job, status)
  return status
end

-- The lease is not ours any more. Where that is because the job was canceled, its slot is free; RQ leaves the execution.
local function leave(J, E)
  redis.call('DEL', execution_key(J, E))
  redis.call('ZREM', executions_key(J), E)
  local job = read_job(J)
  if job and (job.status == 'canceled' or job.status == 'stopped') then release_slot(J, job) end
  return 'lost'
end

local function settle(outcome, Q, J, run, delay, member)
  local key = execution_key(J, run.execution)
  if over[member] or not leased[member] then return leave(J, run.execution) end
  local job = read_job(J, outcome == 'finished' and FIELDS_OF_THE_FINISHED)
  if not job then
    -- The record went away during the run (evicted, or deleted by hand). What was done is done; what was not keeps its data.
    local x = read_execution(run.execution)
    local status = outcome
    if x.run and outcome ~= 'finished' then status = settle_old_run(outcome, Q, J, {}, run, delay, x) end
    redis.call('DEL', key, executions_key(J))
    return status
  end
  run.own = is_owner(job, run.execution)
  if run.own then
    local status = settle_own(outcome, Q, J, job, run, delay)
    ended[#ended + 1] = key
    ended[#ended + 1] = executions_key(J)
    return status
  end
  local x, status = read_execution(run.execution), outcome
  if x.run then status = settle_old_run(outcome, Q, J, job, run, delay, x) end
  redis.call('DEL', key)
  redis.call('ZREM', executions_key(J), run.execution)
  return status
end

-- For whoever delivers it again: as the same run. A newer run's record is not touched, and one that is gone stays so.
local function as_it_was_claimed(J, E)
  local x = read_execution(E)
  if not x.run or redis.call('EXISTS', job_key(J)) == 0 then return end
  pcall(redis.call, 'HSET', job_key(J), 'status', 'started', 'jobqueue_execution', E, 'jobqueue_run', x.run,
    'jobqueue_attempts', int(x.attempts), 'jobqueue_crashes', int(x.crashes))
  pcall(redis.call, 'PERSIST', job_key(J))
end

-- What could not be recorded stays leased: it is told again, or delivered again, and the ledger is found.
local function recorded(outcome, Q, J, run, delay)
  local before, member = #released, J .. ':' .. run.execution
  settled[#settled + 1] = member
  local ok, status = pcall(settle, outcome, Q, J, run, delay, member)
  if ok then
    local fields, number = list_of(kept, held_key(run.execution)), number_of(run.execution)
    local n = #fields
    fields[n + 1], fields[n + 2] = number, number .. 'd'
    if status ~= 'lost' then
      over[member] = true
      table.insert(list_of(leases, Q), member)
    end
    return status
  end
  local err = message(status)
  while #released > before do released[#released] = nil end
  if run.own then as_it_was_claimed(J, run.execution) end
  if is_worlds(err) then trouble = err end
  return '!' .. err
end

-- Needs no memory, and lets Redis pass the rest; and what removes an execution is tried before anything is recorded.
if ARGV[8] then redis.call('ZREM', wip_key(ARGV[8]), '') end
if ARGV[9] then
  redis.call('DEL', execution_key(ARGV[9], 'none'))
  redis.call('HDEL', held_key('none'), 'none')
end
do
  local members, parents = {}, {}
  for k = 7, #ARGV - 9, 10 do
    local Q, member = ARGV[k + 1], ARGV[k + 2] .. ':' .. ARGV[k + 3]
    table.insert(list_of(members, Q), member)
    parents[#parents + 1] = dependents_key(ARGV[k + 2])
  end
  for Q, list in pairs(members) do
    local scores = redis.call('ZMSCORE', wip_key(Q), unpack(list))
    for k = 1, #list do leased[list[k]] = scores[k] end
  end
  if #parents > 0 then some_have_dependents = redis.call('EXISTS', unpack(parents)) > 0 end
end

local i = 7
while i < #ARGV do
  local run = {execution = ARGV[i + 3], started_iso = ARGV[i + 4], ended_iso = ARGV[i + 5], started = ARGV[i + 6],
    ended = ARGV[i + 7], text = ARGV[i + 8]}
  answers[#answers + 1] = recorded(ARGV[i], ARGV[i + 1], ARGV[i + 2], run, tonumber(ARGV[i + 9]))
  i = i + 10
end

-- Last one first, so that they stand at the head in the order they were taken.
for k = #released, 1, -1 do redis.call('LPUSH', queue_key(released[k][1]), released[k][2]) end
if #ended > 0 then redis.call('DEL', unpack(ended)) end
for key, fields in pairs(kept) do redis.call('HDEL', key, unpack(fields)) end
-- Given up last: whatever was refused before this left the lease in place.
for Q, members in pairs(leases) do redis.call('ZREM', wip_key(Q), unpack(members)) end
if trouble and succeeded + failed == 0 then return redis.error_reply(trouble) end

local worker = worker_key(W)
if #settled > 0 then redis.call('SREM', worker .. ':executions', unpack(settled)) end
-- A record that expired is written anew by the next heartbeat, whole; a part of one would upset every reader.
if redis.call('EXISTS', worker) == 1 then
  if succeeded > 0 then redis.call('HINCRBY', worker, 'successful_job_count', succeeded) end
  if failed > 0 then redis.call('HINCRBY', worker, 'failed_job_count', failed) end
  if tonumber(ARGV[6]) > 0 then redis.call('HINCRBYFLOAT', worker, 'total_working_time', ARGV[6]) end
  local other = redis.call('SRANDMEMBER', worker .. ':executions')
  if other then
    redis.call('HSET', worker, 'current_job', string.match(other, '^(.*):') or other)
  else
    redis.call('HSET', worker, 'state', 'idle', 'current_job_working_time', '0')
    redis.call('HDEL', worker, 'current_job', 'jobqueue_claimed_at')
  end
end
-- Whether an id that came back waits, perhaps for what ended here.
local waits = 0
if ARGV[8] then waits = redis.call('EXISTS', aside_key(ARGV[8])) end
return {answers, notices, waits}
