-- How mistakes are collected and shown: order, counting, quoting, what is never shown.

local diagnostics = require "tidegate.diagnostics"

local function with(text, ...)
  local reports = diagnostics.new()
  reports:add_source("a.lua", text)
  for _, report in ipairs { ... } do
    report.code = report.code or "runtime"
    reports[report.severity == "warning" and "warn" or "error"](reports, report)
  end
  return reports
end

describe("a report", function()
  it("says where and what, and quotes the line", function()
    local reports = with("local x = 1\nlocal yy = 2\n", { file = "a.lua", line = 2, column = 7, width = 2,
                         path = "a.b", message = "bad", hint = "do this\nor that" })
    assert.equal([[
a.lua:2:7: a.b: bad [TG1002]
    2 | local yy = 2
      |       ^^
      = do this
        or that

1 error in 1 file — not loaded
]], reports:render "not loaded")
  end)

  it("marks the right place behind tabs and wide characters", function()
    local reports = with("\té = ü", { file = "a.lua", line = 1, column = 7, width = 2, message = "bad" })
    assert.matches("    1 |  é = ü\n      |      %^\n", reports:render())
  end)

  it("cuts long lines around the mark", function()
    local text = ("x"):rep(500) .. "HERE" .. ("y"):rep(500)
    local shown = with(text, { file = "a.lua", line = 1, column = 501, width = 4, message = "bad" }):render()
    local line, caret = shown:match "    1 | ([^\n]*)\n      | ([^\n]*)\n"
    assert.is_true(#line <= 120)
    assert.equal(line:find "HERE", (caret:find "%^%^%^%^"))
  end)

  it("sends no commands to the terminal", function()
    local shown = with("\27[2J", { file = "a.lua", line = 1, message = "\27]0;x\7" }):render()
    assert.matches("a.lua:1: %?%]0;x%? %[TG1002%]\n    1 | %?%[2J\n", shown)
  end)

  it("is not longer than people read", function()
    assert.is_true(#with("", { message = ("m"):rep(100000) }):render() < 2200)
  end)

  it("has a code that stays", function()
    local reports = with("", { code = "unknown_field", message = "bad" })
    assert.equal("TG1204", reports.list[1].code)
    assert.has_error(function() with("", { code = "no_such_code", message = "bad" }) end)
  end)

  it("does not quote a line with a secret", function()
    local reports = with("key = 'hunter2'", { file = "a.lua", line = 1, column = 1, message = "bad" })
    reports:hide_line("a.lua", 1)
    assert.equal("a.lua:1:1: bad [TG1002]\n\n1 error in 1 file\n", reports:render())
  end)
end)

describe("reports", function()
  it("come in the order of files, lines and columns", function()
    local reports = with("\n\n", { file = "b.lua", line = 1, message = "4" },
                         { file = "a.lua", line = 2, column = 5, message = "3" },
                         { file = "a.lua", line = 2, column = 1, message = "2" },
                         { file = "a.lua", line = 1, message = "1" }, { message = "5" })
    local order = {}
    for i, report in ipairs(reports:sorted()) do order[i] = report.message end
    assert.same({ "1", "2", "3", "4", "5" }, order)
  end)

  it("are said once", function()
    local reports = with("", { file = "a.lua", line = 1, message = "bad" },
                         { file = "a.lua", line = 1, message = "bad" })
    assert.equal("1 error in 1 file", reports:summary())
  end)

  it("are counted beyond those that are shown", function()
    local reports = with ""
    for i = 1, 150 do reports:error { code = "runtime", message = "bad " .. i } end
    assert.matches("50 further messages not shown\n\n150 errors in 1 file\n$", reports:render())
  end)

  it("count warnings apart", function()
    local reports = with("", { message = "a", severity = "warning" }, { message = "b" })
    assert.equal("1 error, 1 warning in 1 file", reports:summary())
    assert.matches("^warning: a %[TG1002%]\n", reports:render())
  end)

  it("are nothing when all is well", function() assert.equal("", with(""):render()) end)
end)
