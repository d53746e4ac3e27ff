-- The matching suites of the Kubernetes Gateway API's HTTPRoute, replayed against the running gateway:
-- each suite becomes a configuration, each case a request, and the backend that the case names has to
-- get it. Where Tidegate differs on purpose, the case is listed in DIFFERENCES with what it does instead.

local gateway = require("support.gateway")
local httproute = require("support.httproute")

local SUITES = {
  "httproute-matching", "httproute-exact-path-matching", "httproute-header-matching",
  "httproute-method-matching", "httproute-query-param-matching", "httproute-path-match-order",
  "httproute-matching-across-routes", "httproute-listener-hostname-matching",
}

-- By suite and "METHOD path": HEAD goes where GET does, and where only the method is wrong the answer
-- says so.
local DIFFERENCES = {
  ["httproute-method-matching"] = {
    ["HEAD /"] = { backend = "infra-backend-v2" },
    ["PUT /"] = { status = 405, allow = "GET, HEAD, POST, PATCH" },
    ["DELETE /path4"] = { status = 405, allow = "GET, HEAD, POST, PATCH" },
  },
}

local function title(case)
  local request, headers = case.Request, {}
  for name, value in pairs(request.Headers or {}) do
    table.insert(headers, name .. ": " .. value)
  end
  table.sort(headers)
  return ("%s %s%s %s"):format(request.Method or "GET", request.Host or "", request.Path,
                               table.concat(headers, ", "))
end

-- The difference for a case that expects to be told that there is no route.
local function difference(name, case)
  local key = (case.Request.Method or "GET") .. " " .. case.Request.Path
  return not case.Backend and DIFFERENCES[name] and DIFFERENCES[name][key] or nil
end

local function check(g, o, name, case)
  local instead = difference(name, case)
  if instead and instead.backend then
    case = { Request = case.Request, Backend = instead.backend }
  end
  local got = httproute.play(g, o, case)
  if case.Backend then
    assert.equal(case.Backend, got.backend)
    assert.status(200, got.response)
    return instead
  end
  assert.status(instead and instead.status or case.Response.StatusCode, got.response)
  assert.is_true(httproute.idle(o))
  if instead then
    assert.header("allow", instead.allow, got.response)
  end
  return instead
end

local suites = httproute.suites()

for _, name in ipairs(SUITES) do
  local suite = suites[name]

  describe(name, function()
    local g, o
    local differed = 0

    setup(function()
      o = httproute.origin()
      g = gateway.start({ config = httproute.config(httproute.routes(suite), o) })
    end)

    teardown(function()
      g:stop()
    end)

    for _, case in ipairs(suite.cases) do
      it("takes " .. title(case), function()
        if check(g, o, name, case) then
          differed = differed + 1
        end
      end)
    end

    it("differs only where that is written down", function()
      local listed = 0
      for _ in pairs(DIFFERENCES[name] or {}) do
        listed = listed + 1
      end
      assert.equal(listed, differed)
    end)
  end)
end

describe("the cases", function()
  it("say where they come from", function()
    for _, name in ipairs({ "gateway_api", "path_join" }) do
      local data = httproute.load(name)
      assert.equal("Apache-2.0", data.derived_from.licence)
      assert.is_string(data.derived_from.commit)
    end
  end)

  it("are all there", function()
    local count = 0
    for _, suite in pairs(suites) do
      count = count + #suite.cases
    end
    assert.equal(139, count)
    assert.equal(194, #httproute.load("path_join").path_join)
  end)
end)
