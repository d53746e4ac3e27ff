-- What is wrong with what a route asks for is said with its place and what to write instead, all of it in
-- one pass; and two routes that ask for the same are told of each other.

local command = require("support.command")

local HEAD = [[
local tg = require "tidegate"
tg.listener "http" { address = "127.0.0.1:0" }
tg.service "echo" { builtin = "echo" }
]]

-- What `tidegate check` prints of a configuration, whose text begins on line 4.
local function check(text)
  local folder = command.folder()
  folder:write("gateway.lua", HEAD .. text)
  local _, printed = folder:run_words({ os.getenv("TIDEGATE_BIN"), "check" })
  folder:close()
  return printed
end

-- Title, fields of a route, the message from its column on, and a part of the hint.
local CASES = {
  { "an expression that does not compile", [[paths = { "~^/v(\\d+" }]],
    [[paths[1]: "~^/v(\\d+" is not a path: missing closing parenthesis (at byte 9)]], "PCRE2" },
  { "an expression without its anchor", [[paths = { "~/v" }]],
    'paths[1]: "~/v" is not a path: a regular expression of a path begins with ~^ (at byte 2)',
    "from the start" },
  { "an expression that explodes", [[paths = { "/a", "~^/(a+)+$" }]],
    'paths[2]: "~^/(a+)+$" is not a path: it takes more than 100000 steps on 512 bytes that nearly match',
    "possessive" },
  { "an expression that is too large", [[paths = { "~^/(abc){900}" }]],
    'paths[1]: "~^/(abc){900}" is not a path: its code is larger than 32 KiB', "instead" },
  { "a path that no request has", [[paths = { "/a%zz" }]],
    'paths[1]: "/a%zz" is not a path: % begins an escape of two hex digits', "%25" },
  { "a name that no header has", [[headers = { ["x y"] = "1" }]],
    'headers["x y"]: "x y" is not a header name' },
  { "a header twice", [[headers = { ["X-A"] = "1", ["x-a"] = "2" }]],
    'headers.x-a: the same key twice: "x-a"' },
  { "a condition that does not compile", [[query = { a = "~(" }]],
    'query.a: "~(" is not a regular expression: missing closing parenthesis (at byte 3)', "PCRE2" },
  { "a condition that explodes", [[cookies = { a = "~^(\\w+)*x" }]],
    [[cookies.a: "~^(\\w+)*x" is not a regular expression: it takes more than 100000 steps]], "possessive" },
  { "an empty list of values", [[headers = { a = {} }]], "headers.a: the list is empty", "one of these" },
  { "false for a condition", [[headers = { a = false }]], "headers.a: expected a condition, got false",
    "true" },
  { "a secret for a value", [[headers = { a = tg.secret "env:HOME" }]],
    "headers.a: expected a condition, got a secret" },
  { "a table with a metatable", [[headers = { a = setmetatable({ "1" }, {}) }]],
    "headers.a: a table with a metatable is no plain data" },
  { "a number for a value", [[headers = { a = { "1", 2 } }]], "headers.a: item 2: expected a string" },
  { "a table of names for values", [[headers = { a = { b = "1" } }]],
    "headers.a: a list of values has no named fields", "one of these" },
  { "a value that cannot arrive", [[headers = { a = "x\ny" }]], "cannot arrive" },
  { "what is no network", [[networks = { "10.0.0.0/99" }]], 'networks[1]: "10.0.0.0/99" is not a network' },
  { "what is no scheme", [[scheme = "ftp"]], 'scheme: "ftp" is not an allowed value', "http, https" },
  { "what no handshake names", [[sni = { "a.test:443" }]],
    'sni[1]: "a.test:443" is not a host: a TLS handshake names a host, without a port', "*.example.com" },
  { "a priority out of range", [[priority = 1e7]], "priority: 10000000 is above the maximum 1000000" },
}

describe("a route that asks for", function()
  for _, case in ipairs(CASES) do
    it(case[1], function()
      local printed = check(([[tg.route "x" { service = "echo", %s }]]):format(case[2]))
      assert.matches("^gateway.lua:4:%d+: routes.x.", printed)
      assert.contains(case[3], printed)
      assert.contains(case[4] or "", printed)
      assert.contains("1 error in 1 file", printed)
    end)
  end
end)

describe("two routes that ask for the same", function()
  it("are told of each other, however it is written", function()
    local printed = check([[
tg.route "a" { service = "echo", paths = { "/x" }, headers = { ["X-A"] = { "1", "2" } } }
tg.route "b" { service = "echo", paths = { "/%78" }, headers = { ["x-a"] = { "2", "1" } } }
tg.route "c" { service = "echo", paths = { "~^/v\\d" }, networks = { "10.0.0.0/9", "10.128.0.0/9" } }
tg.route "d" { service = "echo", paths = { "~^/v\\d" }, networks = { "10.128.0.0/9", "10.0.0.0/9" } }
]])
    assert.contains('gateway.lua:5:1: routes.b: route "a" takes the same requests (* /x)', printed)
    assert.contains("declared at gateway.lua:4", printed)
    assert.contains([[gateway.lua:7:1: routes.d: route "c" takes the same requests (* ~^/v\d)]], printed)
    assert.contains("declared at gateway.lua:6", printed)
  end)

  it("are none when a priority or a condition tells them apart", function()
    assert.contains("is valid", check([[
tg.route "a" { service = "echo", headers = { ["x-a"] = "1" } }
tg.route "b" { service = "echo", headers = { ["x-a"] = "2" } }
tg.route "c" { service = "echo", headers = { ["x-a"] = "1" }, priority = 1 }
tg.route "d" { service = "echo", query = { ["x-a"] = "1" } }
]]))
  end)

  it("more than the table holds are refused with the route that is one too many", function()
    local printed = check([[
for i = 0, 256 do
  local set = ("[%s-Pa-%s]+"):format(string.char(65 + i % 16), string.char(97 + math.floor(i / 16)))
  tg.route("r" .. i) { service = "echo", paths = { "/" .. i .. "/{x:" .. set .. "}" } }
end
]])
    assert.contains("routes.r256: more than 256 different constraints in all", printed)
    assert.contains("= share constraints among the routes", printed)
  end)
end)
