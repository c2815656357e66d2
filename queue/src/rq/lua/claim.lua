-- Takes up to `max` jobs, earlier queues first. A job leaves its queue, gets an execution and a lease in one step, so
-- no crash can lose it in between. Ids are looked at first and taken last: whatever Redis refuses, it refuses before.
-- ARGV and answer: claim.rs.
local worker_ttl, lease, max = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local max_job_bytes, max_bytes = tonumber(ARGV[6]), tonumber(ARGV[7])
local stem, with_meta = ARGV[8], ARGV[9] == '1'
local score = int(OURS + math.ceil(now + micros / 1e6 + lease))
local record_ttl, executions_score, lease_text = int(lease + RECORD_OF_A_RUN), int(now + lease + 60), int(lease)

local OVER = {finished = true, failed = true, canceled = true, stopped = true, deferred = true, scheduled = true,
  rate_limited = true}
local RUNS = 'it is running already'

local jobs, dropped, bytes, cap = {}, {}, 0, max
-- Leases are written once per queue; what this very claim took is known from here, and how it was before.
local taken, held, mine, before, kept = {}, {}, {}, {}, {}
local gone, served, head = {}, {}, ''
local waits_aside = false
-- A longer `meta` is not sent: it is asked for because of a trace context, which is short.
local LONGEST_META = 16384
-- Each field costs.
local FIELDS = {'status', 'data', 'created_at', 'enqueued_at', 'timeout', 'retries_left', 'ttl', 'worker_name',
  'jobqueue_attempts'}
if with_meta then FIELDS[#FIELDS + 1] = 'meta' end
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

-- The identity of the run that this record asks for. What the producer wrote tells it apart from every other, also where
-- Redis forgets the claim; a record without one of the times needs chance.
local life = nil
local function identity(J, created_at, enqueued_at, of)
  life = life or redis.call('GET', P .. ':jobqueue:life')
  if not life then
    life = stem
    redis.call('SET', P .. ':jobqueue:life', life)
  end
  if created_at and enqueued_at then return life .. ' ' .. of .. ' ' .. J end
  return life .. ' ' .. stem .. #jobs .. ' ' .. J
end

-- A retry or a requeue writes another time of enqueueing; the run stays. What a worker of an older version had in hand
-- may have a ledger entry under its names.
local function run_of(J, f, of)
  if f.run and f.run ~= '' and string.match(f.of or '', '^(%S*) ') == (f.created_at or '') then return f.run end
  if f.touched and not f.of then return 'names:' .. (f.generation or '0') end
  return identity(J, f.created_at, f.enqueued_at, of)
end

-- Writes the execution of a job whose turn it is; `own` where the job's record is that of this run. Gives false when it
-- has to wait for another batch.
local function begin(J, Q, f, own)
  local size = #f.data
  local limit = batch_for(f.crashes)
  if #jobs > 0 and (#jobs >= limit or bytes + size > max_bytes) then return false end
  cap = math.min(cap, limit)
  local attempts = f.attempts + 1
  local number = string.format('%08x', #jobs)
  local E = stem .. number
  local member, key, ekey, xkey = J .. ':' .. E, job_key(J), execution_key(J, E), executions_key(J)
  f.J, f.E, f.own = J, E, own
  before[#before + 1] = f
  if own then
    redis.call('HSET', key, 'status', 'started', 'started_at', now_iso, 'last_heartbeat', now_iso, 'worker_name', W,
      'jobqueue_execution', E, 'jobqueue_attempts', text_of(attempts), 'jobqueue_run', f.run, 'jobqueue_of', f.of)
    -- A record that nobody had yet, of a job without a lifetime, has none to take away.
    if f.touched or f.ttl or f.worker ~= '' then redis.call('PERSIST', key) end
  end
  local data = size <= max_job_bytes and f.data or ''
  redis.call('HSET', ekey, 'id', E, 'created_at', now_float, 'last_heartbeat', now_float, 'worker_name', W,
    'job_id', J)
  -- Their lifetime comes with the first heartbeat: most are over by then.
  redis.call('ZADD', xkey, executions_score, E)
  local k, t = #kept, #taken
  kept[k + 1], kept[k + 2], kept[k + 3], kept[k + 4] = number, packed(head, f, attempts), number .. 'd', data
  taken[t + 1], taken[t + 2] = score, member
  held[#held + 1] = member
  mine[J] = true
  bytes = bytes + #data
  local created_at, enqueued_at = f.created_at, f.enqueued_at
  if not created_at then created_at, enqueued_at = string.match(f.of, '^(%S*) (.*)$') end
  local row = {Q, J, E, data, size, created_at, enqueued_at or '', f.timeout or '', f.generation or '0', attempts,
    f.crashes, f.run}
  if with_meta then row[#row + 1] = f.meta and #f.meta <= LONGEST_META and f.meta or '' end
  jobs[#jobs + 1] = row
  return true
end

-- What ours have written is asked for only where one of ours had the job before.
local function read(J)
  local f = redis.call('HMGET', job_key(J), unpack(FIELDS))
  local touched, o = f[9] and true or false, {}
  if touched then
    o = redis.call('HMGET', job_key(J), 'jobqueue_generation', 'jobqueue_crashes', 'jobqueue_execution', 'jobqueue_run',
      'jobqueue_of')
  end
  return {status = f[1] or nil, data = f[2] or nil, created_at = f[3] or nil,
    enqueued_at = f[4] or nil, timeout = f[5] or nil, retries = f[6] or nil, ttl = f[7] or nil, worker = f[8] or nil,
    attempts = tonumber(f[9] or '') or 0, touched = touched, generation = o[1] or nil, crashes = tonumber(o[2] or '') or 0,
    execution = o[3] or nil, run = o[4] or nil, of = o[5] or nil, meta = f[10] or nil}
end

-- A producer that writes no times wrote over a record that waits aside, or is in hand as `live`: what it holds tells the
-- two apart, and from then on the time of taking. RQ's tools write `enqueued_at`; they may pack the same data differently.
local function is_written_over(J, f, live)
  if f.enqueued_at and f.enqueued_at ~= '' then return false end
  local data = redis.call('HGET', run_key(J, f.run or ''), 'data')
  if not data and live then data = read_execution(live).data end
  if not data or data == '' or data == f.data then return false end
  f.created_at = now_iso
  redis.call('HSET', job_key(J), 'created_at', now_iso)
  return true
end

-- Takes the job at the head of a queue. Gives false when it has to wait for another batch.
local function take(J, Q)
  local f = read(J)
  if not f.data then
    gone[#gone + 1] = J
    drop(J, 'its record is gone')
    return true
  end
  local now_is = version(f.created_at, f.enqueued_at)
  local known = f.of == now_is or (f.touched and not f.of)
  if OVER[f.status] and (known or (f.status ~= 'finished' and f.status ~= 'failed')) then
    drop(J, 'its status is ' .. f.status)
    return true
  end
  local turn = true
  -- A record that no worker had yet needs no look at what runs. `jobqueue_of` stays when its producer writes over it.
  if mine[J] then
    -- This very claim began a run of the id: of this record, or of one that waited aside.
    if f.of == now_is and not is_written_over(J, f, nil) then
      drop(J, RUNS)
      return true
    end
    turn = false
  elseif f.of or f.touched or (f.worker and f.worker ~= '') then
    local live = live_execution(J, Q, '')
    if live then
      local in_hand = read_execution(live).retries
      local put_back = f.retries and in_hand and (tonumber(f.retries) or 0) < (tonumber(in_hand) or 0)
      -- The same record pushed twice, or put back by RQ's clean-up although it runs again.
      local known_already = f.of == now_is or f.status == 'started' or put_back
      if known_already and not is_written_over(J, f, live) then
        drop(J, RUNS)
        return true
      end
      turn = false
    elseif f.execution and f.execution ~= '' and redis.call('ZSCORE', wip_key(Q), J .. ':' .. f.execution) then
      local x = read_execution(f.execution)
      forget_execution(J, f.execution, Q, f.worker)
      if f.of and f.of ~= now_is and x.run then
        -- Its worker died, and the producer has written over the record since: what it ran comes first.
        x.crashes = x.crashes + 1
        bring_back(J, Q, x, 0)
        turn = false
      end
    end
    -- One whose record was written over waits to be taken back, and comes first.
    if turn and is_held(J, Q) then turn = false end
  end
  if turn and waits_aside and redis.call('ZSCORE', aside_key(Q), J) then
    if f.of == now_is and f.run and f.run ~= '' and not is_written_over(J, f, nil) then
      drop(J, RUNS)
      return true
    end
    turn = false
  end
  local before_it = f.run
  f.run = turn and run_of(J, f, now_is) or identity(J, f.created_at, f.enqueued_at, now_is)
  -- What the producer wrote over left its counts.
  if before_it and f.run ~= before_it then
    if f.crashes > 0 then redis.call('HSET', job_key(J), 'jobqueue_crashes', '0') end
    f.attempts, f.crashes = 0, 0
  end
  if not f.created_at then
    -- RQ's tools take the time of reading for it, each time anew.
    f.created_at = now_iso
    redis.call('HSET', job_key(J), 'created_at', now_iso)
  end
  f.of = version(f.created_at, f.enqueued_at)
  if turn then return begin(J, Q, f, true) end
  set_aside(J, Q, f)
  waits_aside = true
  return true
end

-- Takes the next run of an id that came back while an earlier one was in hand, once that has ended.
local function take_aside(J, Q)
  if mine[J] or live_execution(J, Q, '') or is_held(J, Q) then return true end
  local R = redis.call('LINDEX', behind_key(Q, J), 0)
  local x = R and read_hash_of_run(run_key(J, R))
  local f = read(J)
  if not x or not x.run or (not f.data and x.attempts == 0) then
    -- Deleted by its producer before it ran. One that ran already, and lost its record meanwhile, has its data here.
    drop(J, 'its record was deleted while it waited for an earlier run')
  else
    local own = f.run == x.run and version(f.created_at, f.enqueued_at) == x.of
    if own and OVER[f.status] then
      drop(J, 'its status is ' .. f.status)
    else
      if own then
        x.status, x.execution, x.worker, x.generation, x.meta = f.status, f.execution, f.worker, f.generation, f.meta
      end
      if not begin(J, Q, x, own) then return false end
    end
  end
  served[#served + 1] = {J, R or ''}
  return true
end

-- A record that is not what it should be (another type of key, say) must not stop the queue.
local function refuse(J, Q, err)
  drop(J, err)
  pcall(redis.call, 'HSET', job_key(J), 'status', 'failed')
  pcall(redis.call, 'ZADD', failed_key(Q), int(now + 86400), J)
  pcall(redis.call, 'DEL', execution_key(J, stem .. string.format('%08x', #jobs)))
end

-- What the world refuses ends everything: jobs of this queue that were begun are put back as they were.
local function put_back(Q)
  for _, f in ipairs(before) do
    local J, E = f.J, f.E
    pcall(redis.call, 'DEL', execution_key(J, E))
    pcall(forget_copy, E)
    pcall(redis.call, 'ZREM', executions_key(J), E)
    pcall(redis.call, 'ZREM', wip_key(Q), J .. ':' .. E)
    pcall(redis.call, 'SREM', worker_key(W) .. ':executions', J .. ':' .. E)
    if f.own and f.status then
      pcall(redis.call, 'HSET', job_key(J), 'status', f.status, 'jobqueue_attempts', f.attempts, 'jobqueue_execution',
        f.execution or '', 'worker_name', f.worker or '')
    end
  end
end

-- Whatever is begun is not failed any more: an older run of the same id may have left its entry.
local function lease_all(Q)
  local ids = {}
  for k, f in ipairs(before) do ids[k] = f.J end
  for k = 1, #ids, 500 do redis.call('ZREM', failed_key(Q), unpack(ids, k, math.min(k + 499, #ids))) end
  for k = 1, #kept, 500 do redis.call('HSET', held_key(stem), unpack(kept, k, math.min(k + 499, #kept))) end
  if #kept > 0 then redis.call('EXPIRE', held_key(stem), record_ttl) end
  for k = 1, #taken, 500 do redis.call('ZADD', wip_key(Q), unpack(taken, k, math.min(k + 499, #taken))) end
  if #held > 0 then
    local executions = worker_key(W) .. ':executions'
    for k = 1, #held, 500 do redis.call('SADD', executions, unpack(held, k, math.min(k + 499, #held))) end
    redis.call('EXPIRE', executions, int(worker_ttl))
  end
end

-- Takes off what was served of the runs set aside.
local function take_off(Q)
  for _, pair in ipairs(served) do
    local J, R = pair[1], pair[2]
    redis.call('LPOP', behind_key(Q, J))
    redis.call('DEL', run_key(J, R))
    if redis.call('EXISTS', behind_key(Q, J)) == 0 then redis.call('ZREM', aside_key(Q), J) end
  end
end

local function guarded(step, J, Q)
  local ok, fits = pcall(step, J, Q)
  if ok then return fits end
  local err = message(fits)
  if is_worlds(err) then error(err, 0) end
  refuse(J, Q, err)
  return true
end

-- One pass: looks at the head, begins what may begin, and only then takes it off. Gives whether there may be more.
local function pass(Q)
  taken, held, before, gone, served, kept = {}, {}, {}, {}, {}, {}
  head = string.gsub(Q, '\n', ' ') .. '\n' .. lease_text .. '\n'
  waits_aside = redis.call('EXISTS', aside_key(Q)) == 1
  if waits_aside then
    for _, J in ipairs(redis.call('ZRANGEBYSCORE', aside_key(Q), '-inf', now_float, 'LIMIT', 0, 100)) do
      if #jobs >= cap then break end
      if not guarded(take_aside, J, Q) then cap = 0 end
    end
  end
  local wanted = math.min(cap - #jobs, budget)
  local ids = wanted > 0 and redis.call('LRANGE', queue_key(Q), 0, wanted - 1) or {}
  local off = 0
  for _, J in ipairs(ids) do
    if #jobs >= cap or not guarded(take, J, Q) then
      cap = 0
      break
    end
    off = off + 1
  end
  lease_all(Q)
  note_gone(Q, gone)
  if off > 0 then redis.call('LPOP', queue_key(Q), off) end
  -- What fails here is delivered once more, as the same run.
  pcall(take_off, Q)
  budget = budget - #ids
  return #ids == wanted
end

if redis.call('EXISTS', P .. ':suspended') == 1 then
  if redis.call('EXISTS', worker_key(W)) == 1 then redis.call('HSET', worker_key(W), 'state', 'suspended') end
  return {1, {}, {}}
end

local trouble
for i = 10, #ARGV do
  local Q = ARGV[i]
  while #jobs < cap and budget > 0 do
    local begun, said = #jobs, #dropped
    local ok, more = pcall(pass, Q)
    if not ok then
      put_back(Q)
      while #jobs > begun do jobs[#jobs] = nil end
      while #dropped > said do dropped[#dropped] = nil end
      trouble = message(more)
      break
    end
    if not more then break end
  end
end
if #jobs == 0 and #dropped == 0 and trouble then return redis.error_reply(trouble) end

if #jobs > 0 then
  -- A record that expired is written anew by the next heartbeat, whole.
  if redis.call('EXPIRE', worker_key(W), int(worker_ttl)) == 1 then
    redis.call('HSET', worker_key(W), 'state', 'busy', 'current_job', jobs[1][2], 'current_job_working_time', '0',
      'jobqueue_claimed_at', now_float, 'last_heartbeat', now_iso)
  end
end
return {0, jobs, dropped}
