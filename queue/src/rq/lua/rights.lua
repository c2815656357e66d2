-- Tries whatever the other scripts do, on keys of the same names and patterns and without effect, so that a right that is
-- missing shows before a job is taken. Answers 1, or the error of Redis with what was tried.
-- ARGV: registration.rs.
local J, E = 'jobqueue_rights', 'none'

local function try(command, key, ...)
  local answer = redis.pcall(command, key, ...)
  if type(answer) == 'table' and answer.err then
    local code = is_worlds(answer.err) and 'NOPERM' or string.match(answer.err, '^%u+') or 'ERR'
    error(code .. ' ' .. command .. ' on ' .. string.gsub(key, J, '*', 1) .. ': ' .. answer.err, 0)
  end
  return answer
end

local function try_record(key)
  try('DEL', key)
  try('HSET', key, 'probe', '1')
  for _, read in ipairs({'HGET', 'HMGET', 'HEXISTS', 'HDEL'}) do try(read, key, 'probe') end
  try('EXISTS', key)
  try('EXPIRE', key, 60)
  try('PERSIST', key)
  try('DEL', key)
end

local function try_queue(Q)
  local list = queue_key(Q)
  try('LRANGE', list, 0, 0)
  try('LPOS', list, '')
  try('LPOP', list, 0)
  -- Pushed and removed in one step: nobody sees it. What removes it is tried first.
  try('LREM', list, 1, '')
  try('LPUSH', list, '')
  try('LREM', list, 1, '')
  try('RPUSH', list, '')
  try('LREM', list, -1, '')
  for _, registry in ipairs({wip_key(Q), finished_key(Q), failed_key(Q), scheduled_key(Q), aside_key(Q), gone_key(Q)}) do
    try('ZADD', registry, 'XX', 1, '')
    try('ZREM', registry, '')
    try('ZSCORE', registry, '')
    try('ZMSCORE', registry, '')
    try('ZRANGEBYSCORE', registry, 1, 0)
    try('ZREMRANGEBYSCORE', registry, 1, 0)
  end
  try('LRANGE', list .. ':intermediate', 0, 0)
  try('LREM', list .. ':intermediate', 1, '')
  try('EXISTS', P .. ':scheduler-lock:' .. Q)
  local behind = behind_key(Q, J)
  try('DEL', behind)
  try('RPUSH', behind, '')
  try('LINDEX', behind, 0)
  try('DEL', behind)
end

local function try_all()
  try('EXISTS', P .. ':suspended')
  try_record(job_key(J))
  try_record(execution_key(J, E))
  try_record(run_key(J, E))
  local executions = executions_key(J)
  try('DEL', executions)
  try('ZADD', executions, 1, E)
  try('ZRANGE', executions, 0, -1)
  try('ZREM', executions, E)
  try('DEL', executions)
  try('XADD', results_key(J), 'NOMKSTREAM', '*', 'type', '1')
  try('EXPIRE', results_key(J), 60)
  try('PERSIST', results_key(J))
  try('TTL', results_key(J))
  try('DEL', results_key(J))
  try('SCARD', dependents_key(J))
  try('SMEMBERS', dependents_key(J))
  try('EXPIRE', dependents_key(J), 60)
  try('SMEMBERS', dependencies_key(J))
  try('EXPIRE', dependencies_key(J), 60)
  local worker = worker_key(W)
  if try('EXISTS', worker) == 1 then
    try('HINCRBY', worker, 'successful_job_count', 0)
    try('HINCRBYFLOAT', worker, 'total_working_time', 0)
    try('HDEL', worker, 'probe')
  end
  local held = worker .. ':executions'
  try('SREM', held, J)
  try('SADD', held, J)
  try('SREM', held, J)
  try('SRANDMEMBER', held)
  try('EXPIRE', held, 60)
  try('GET', P .. ':jobqueue:life')
  try('SET', P .. ':jobqueue:probe', '1', 'XX')
  try('HGETALL', P .. ':jobqueue:dependents')
  try('HINCRBY', P .. ':jobqueue:gone', W, 0)
  try('HDEL', P .. ':jobqueue:gone', W)
  for i = 3, #ARGV do try_queue(ARGV[i]) end
end

local ok, err = pcall(try_all)
if ok then return 1 end
return redis.error_reply(message(err))
