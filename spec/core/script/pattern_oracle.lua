-- Compares our string functions with LuaJIT's: the same calls to both, everything must agree:
-- results, captures, and the text of errors. Used by pattern_lua_test.c with generated calls, and
-- by the fuzz driver with the fuzzer's.
--
--   local compare, generate = chunk(theirs, ours)      two tables with find, match, gmatch, gsub
--   compare(s, p, repl, init, max)   nil, or a text that tells the difference
--   generate(seed, count)            compares generated calls: number of calls that raised, or nil
--                                    and the first difference
--
-- LuaJIT may take exponential time: subjects are short, and patterns with many quantifiers are not
-- generated. Zero bytes in patterns are left out, where we differ on purpose (core/script/pattern.h).

local theirs, ours = ...

local ROUNDS = 40 -- of a gmatch loop

local function render(value)
  return type(value) == "string" and ("%q"):format(value) or tostring(value)
end

local function render_all(...)
  local out = {}
  for i = 1, select("#", ...) do
    out[i] = render((select(i, ...)))
  end
  return table.concat(out, ", ")
end

local function iterate(lib, s, p)
  local out = {}
  local next_match = lib.gmatch(s, p)
  for round = 1, ROUNDS do
    local captures = render_all(next_match())
    if captures == "" or captures == "nil" then
      break
    end
    out[round] = captures
  end
  return table.concat(out, "; ")
end

-- What gsub gives its replacement, and what it makes of what comes back.
local function gsub_calls(lib, s, p, max)
  local seen = {}
  local function called(...)
    seen[#seen + 1] = render_all(...)
    local n = #seen % 4
    return n == 1 and "<" or n == 2 and 12 or n == 3 and (...) or nil
  end
  local result, count = lib.gsub(s, p, called, max)
  return result, count, table.concat(seen, "; ")
end

local replacements = { a = "A", b = false, ["1"] = 7, [1] = "one", [2] = 2, [""] = "empty" }
local looked_up = setmetatable({}, {
  __index = function(_, key)
    return replacements[key]
  end,
})

local operations = {
  find = function(lib, s, p, _, init)
    return lib.find(s, p, init)
  end,
  plain = function(lib, s, p, _, init)
    return lib.find(s, p, init, true)
  end,
  match = function(lib, s, p, _, init)
    return lib.match(s, p, init)
  end,
  gmatch = iterate,
  gsub_string = function(lib, s, p, repl, _, max)
    return lib.gsub(s, p, repl, max)
  end,
  gsub_function = function(lib, s, p, _, _, max)
    return gsub_calls(lib, s, p, max)
  end,
  gsub_table = function(lib, s, p, _, _, max)
    return lib.gsub(s, p, replacements, max)
  end,
  gsub_index = function(lib, s, p, _, _, max)
    return lib.gsub(s, p, looked_up, max)
  end,
}

-- Result of one call as text; errors without their position. The call is in the middle of a line of
-- its own, so that both libraries see a Lua function as their caller.
local function outcome(ok, ...)
  if ok then
    return render_all(...)
  end
  return "error: " .. tostring((...)):gsub("^.-:%d+: ", "")
end

local function run(operation, lib, ...)
  return outcome(pcall(operations[operation], lib, ...))
end

local function compare(s, p, repl, init, max)
  local raised = 0
  for operation in pairs(operations) do
    local expected = run(operation, theirs, s, p, repl, init, max)
    local actual = run(operation, ours, s, p, repl, init, max)
    if expected ~= actual then
      return nil, ("%s(%s):\n  LuaJIT %s\n  ours   %s"):format(
        operation, render_all(s, p, repl, init, max), expected, actual)
    end
    raised = raised + (expected:sub(1, 6) == "error:" and 1 or 0)
  end
  return raised
end

-- Pieces of patterns.
local singles = {
  "a", "b", "c", "1", " ", "-", "%.", "%a", "%d", "%s", "%w", "%W", "%p", "%z", "%Z", "%x", "%u", "%l",
  "%D", ".", "[ab]", "[^ab]", "[a-c]", "[^%d]", "[%w_]", "[]]", "[^]]", "[a-]", "[-a]", "[%-x]", "[a%]]",
  "[%z]", "[c-a]", "[^a]", "[^%a]", "[1-%w]", "[%a-z]", "%]", "%%", "^", "$", "%g", "%e",
  "[\255-\128]", "[\128-\255]", "\200", "[", "[a", "[^", "[%", "*", "+", "]",
}
local quantifiers = { "*", "+", "-", "?" }
local specials = {
  "(", ")", "()", "(", ")", "%1", "%2", "%b()", "%bab", "%baa", "%f[%w]", "%f[^a]", "%f[%z]", "(a)",
  "(.)", "%f", "%b", "%bx", "%0", "%f[a", "%9",
}
local subject_bytes = {
  "a", "b", "c", "a", "b", "1", "2", " ", "(", ")", "-", ".", "]", "_", "X", "\0", "\200", "%", "[", "^", "$",
}
local replacement_pieces = { "x", "%0", "%1", "%2", "%%", "", "%", "yz", "%a", "%9" }

local random = math.random

local function pick(list)
  return list[random(#list)]
end

local function concat(count, make)
  local out = {}
  for i = 1, count do
    out[i] = make()
  end
  return table.concat(out)
end

local function new_pattern()
  local left = 4 -- quantifiers
  local body = concat(random(0, 6), function()
    if random(4) == 1 then
      return pick(specials)
    end
    if left == 0 or random(2) == 1 then
      return pick(singles)
    end
    left = left - 1
    return pick(singles) .. pick(quantifiers)
  end)
  return (random(6) == 1 and "^" or "") .. body .. (random(8) == 1 and "$" or "")
    .. (random(40) == 1 and "%" or "")
end

local function new_subject()
  return concat(random(0, 14), function()
    return pick(subject_bytes)
  end)
end

local function new_replacement()
  return concat(random(0, 3), function()
    return pick(replacement_pieces)
  end)
end

local function maybe(value)
  return random(3) == 1 and value or nil
end

local function generate(seed, count)
  local raised = 0
  math.randomseed(seed)
  for _ = 1, count do
    local errors, difference = compare(new_subject(), new_pattern(), new_replacement(),
      maybe(random(-18, 18)), maybe(random(-1, 4)))
    if not errors then
      return nil, difference
    end
    raised = raised + errors
  end
  return raised
end

return compare, generate
