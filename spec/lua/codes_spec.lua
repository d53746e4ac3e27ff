-- Every message has a code that `tidegate explain` knows, and explains nothing that no message says.

local codes = require "tidegate.codes"
local explain = require "tidegate.report.explain"

local function read(path)
  local file = assert(io.open(path))
  local text = file:read "*a"
  file:close()
  return text
end

-- Texts of all sources that write messages: those in Lua name them, those in C print the number.
local function sources()
  local texts = {}
  for path in io.popen("find lua core -name '*.lua' -o -name '*.c'"):lines() do
    if path ~= "lua/tidegate/codes.lua" then texts[path] = read(path) end
  end
  return texts
end

describe("the list of messages", function()
  local texts = sources()

  it("has one entry for each number and name, in order", function()
    local last = ""
    for _, entry in ipairs(codes.list) do
      assert.matches("^TG1[0-5]%d%d$", entry.number)
      assert.is_true(entry.number > last, entry.number .. " stands after " .. last)
      assert.is_true(#entry.title > 0 and #entry.text > 0)
      last = entry.number
    end
  end)

  it("holds what the sources use, and nothing else", function()
    local used = {}
    for path, text in pairs(texts) do
      for number in text:gmatch "TG1%d%d%d" do
        assert(codes.find(number), ("%s prints %s, which is not listed"):format(path, number))
        used[number] = true
      end
      for line in text:gmatch "[^\n]*code = [^\n]*" do
        for name in line:match("code = (.*)"):gmatch '"([%l_]+)"' do
          local known = pcall(codes.number, name)
          if known then used[codes.number(name)] = true end
        end
      end
    end
    for _, entry in ipairs(codes.list) do
      local passed_on = false
      for path, text in pairs(texts) do
        passed_on = passed_on or path:find "^lua/" and text:find('"' .. entry.name .. '"', 1, true)
      end
      assert(used[entry.number] or passed_on, entry.name .. " is explained and never said")
    end
  end)

  it("knows every name that a report is given", function()
    for path, text in pairs(texts) do
      for name in text:gmatch '[{%s]code = "([%l_]+)"' do
        assert(pcall(codes.number, name), ("%s reports %s, which is not listed"):format(path, name))
      end
    end
  end)
end)

describe("explain", function()
  it("tells of one message, however its code is written", function()
    for _, code in ipairs { "TG1204", "tg1204", "1204" } do
      local text = explain({}, code)
      assert.matches("^TG1204: a field that does not exist\n\nTables are closed", text)
      assert.matches("Instead of\n    tg.service", text)
    end
  end)

  it("keeps its lines short", function()
    for _, entry in ipairs(codes.list) do
      for line in explain({}, entry.number):gmatch "[^\n]+" do assert.is_true(#line <= 80, line) end
    end
  end)

  it("lists all", function()
    local text = explain({})
    for _, entry in ipairs(codes.list) do
      assert.matches(entry.number .. "  " .. entry.title, text, 1, true)
    end
  end)

  it("says when there is no such message", function()
    local text, why = explain({}, "TG9999")
    assert.is_nil(text)
    assert.matches("there is no message TG9999", why)
  end)
end)
