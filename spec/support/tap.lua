--- A busted output handler that prints the Test Anything Protocol, the format that cmocka prints too.
--
-- spec/run.lua reads both. busted's own TAP handler stops with an error of its own when a spec file
-- does not parse, and so hides the message that matters.
--
-- One line a spec: "ok N - name" or "not ok N - name", then its message and traceback as lines that
-- begin with "# "; at the end the plan "1..N". Errors outside a spec (a file that does not load, a
-- failing setup or teardown) are failures with a line of their own. Each line is flushed, so that a
-- spec file that is killed at its time limit has told how far it came.

local pretty = require("pl.pretty")

local function comment(text)
  io.write("# ", (text:gsub("^\n+", ""):gsub("\n", "\n# ")), "\n")
end

return function()
  local busted = require("busted")
  local handler = require("busted.outputHandlers.base")()
  local count = 0

  local function report(word, element, note)
    count = count + 1
    local name = handler.getFullName(element):gsub("\n", " ")
    io.write(word, " ", count, " - ", name, note or "", "\n")
    io.flush()
  end

  local function on_test_end(element, _, status)
    if status == "success" then
      report("ok", element)
    elseif status == "pending" then
      report("ok", element, " # SKIP")
    end
    return nil, true
  end

  local function on_failure(element, _, message, trace)
    report("not ok", element)
    comment(type(message) == "string" and message or pretty.write(message))
    if trace and trace.traceback then
      comment(trace.traceback)
    end
    io.flush()
    return nil, true
  end

  local function on_suite_end()
    io.write("1..", count, "\n")
    io.flush()
    return nil, true
  end

  busted.subscribe({ "test", "end" }, on_test_end)
  busted.subscribe({ "failure" }, on_failure)
  busted.subscribe({ "error" }, on_failure)
  busted.subscribe({ "suite", "end" }, on_suite_end)
  return handler
end
