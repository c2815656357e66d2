-- Errors of Redis inside a script; part of every script of a worker.

local function message(err)
  if type(err) == 'table' then return tostring(err.err) end
  return tostring(err)
end

-- What is no job's fault: rights, memory, a replica, a slot of the cluster on its way.
local WORLD = {'NOPERM', 'ACL failure', "executing the script can't", 'OOM', 'READONLY', 'MISCONF', 'NOREPLICAS',
  'CLUSTERDOWN', 'TRYAGAIN', 'MOVED', 'ASK', 'non local key', 'same slot'}
local function is_worlds(text)
  for _, word in ipairs(WORLD) do
    if string.find(text, word, 1, true) then return true end
  end
  return false
end

