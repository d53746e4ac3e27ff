-- How the path of a service and a request's are joined, with and without what the route matched: the 194
-- cases of spec/routing/cases/path_join.json, each a route of its own host and a service with its own path.
--
-- Prefixes of the cases are prefixes of bytes, Tidegate's end at a segment: where a case needs the former,
-- its path is written as the regular expression that says so.

local cjson = require("cjson")
local client = require("support.client")
local gateway = require("support.gateway")
local httproute = require("support.httproute")

local cases = httproute.load("path_join").path_join

-- The pattern of a case's route.
local function pattern(case)
  local path = type(case.route_path) == "string" and case.route_path or "/"
  if path:sub(1, 1) == "~" then return "~^" .. path:sub(2) end
  local segments = path:gsub("/$", "")
  local rest = case.target:sub(#segments + 1)
  if case.target:sub(1, #segments) == segments and (rest == "" or rest:sub(1, 1) == "/") then
    return segments .. "/*"
  end
  return "~^" .. path
end

local function config()
  local lines = { 'local tg = require "tidegate"', "tg.settings { workers = 1 }",
                  'tg.listener "http" { address = "127.0.0.1:@PORT@" }' }
  for i, case in ipairs(cases) do
    table.insert(lines, ('tg.service "s%d" { builtin = "echo", path = %q }'):format(i, case.upstream_path))
    local route = 'tg.route "r%d" { hosts = { "h%d.test" }, paths = { %q }, service = "s%d", %s }'
    table.insert(lines, route:format(i, i, pattern(case), i, case.strip and "strip_prefix = true" or ""))
  end
  return table.concat(lines, "\n"):gsub("\\\n", "\\n")
end

describe("joining paths", function()
  local g

  setup(function() g = gateway.start({ config = (config()) }) end)
  teardown(function() g:stop() end)

  it("has all its cases", function() assert.equal(194, #cases) end)

  for i, case in ipairs(cases) do
    it(("%d: %s at %s%s, behind %s, gives %s"):format(i, case.target, tostring(case.route_path),
        case.strip and " stripped" or "", case.upstream_path, case.expect_upstream_target), function()
      local response = client.get(g.port, case.target, { Host = ("h%d.test"):format(i) })
      assert.status(200, response)
      assert.equal(case.expect_upstream_target, cjson.decode(response.body).target)
    end)
  end
end)
