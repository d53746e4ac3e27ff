-- Loaded by wrk: each request has the next key of a file of NAME=KEY lines in X-Api-Key; counts as
-- wrk_report.lua does. Arguments: the folder of the benchmarks, the file.
-- luacheck: globals init request wrk done

local requests, next_one = {}, 0

function init(args)
  for line in io.lines(args[2]) do
    wrk.headers["X-Api-Key"] = line:match("=(.*)$")
    requests[#requests + 1] = wrk.format()
  end
end

-- A step that has no divisor in common with the number of keys: neighbours in time are none in the file.
local STEP = 7919

function request()
  next_one = (next_one + STEP) % #requests
  return requests[next_one + 1]
end

-- This thread has no arguments: the folder is that of this script.
dofile(debug.getinfo(1, "S").source:match("^@(.*/)") .. "wrk_report.lua")
