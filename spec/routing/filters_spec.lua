-- The suites of the Kubernetes Gateway API's HTTPRoute about filters, replayed against the running gateway:
-- rewriting, redirects, header modifiers and CORS. support/httproute_filters.lua says what becomes of each.
--
-- Where Tidegate asks for more: credentials for every origin need any_origin_credentials = true, since they
-- let any site act as its visitors; the translation says so.

local filters = require("support.httproute_filters")
local gateway = require("support.gateway")
local httproute = require("support.httproute")

local SUITES = {
  ["httproute-rewrite-host"] = 3, ["httproute-rewrite-path"] = 6, ["httproute-redirect-host-and-status"] = 2,
  ["httproute-redirect-path"] = 6, ["httproute-redirect-port"] = 4, ["httproute-redirect-scheme"] = 4,
  ["httproute-303-redirect"] = 1, ["httproute-307-redirect"] = 1, ["httproute-308-redirect"] = 1,
  ["httproute-request-header-modifier"] = 7, ["httproute-response-header-modifier"] = 8,
  ["httproute-cors"] = 17,
}

-- Cases of the CORS suite leave the backend unsaid; all but preflights go to the one there is.
local function with_backend(case)
  if case.Backend or case.RedirectRequest or case.Request.Method == "OPTIONS" then return case end
  return setmetatable({ Backend = "infra-backend-v1" }, { __index = case })
end

local function title(case, i)
  return ("%d: %s %s%s"):format(i, case.Request.Method or "GET", case.Request.Path,
                                case.TestCaseName and " (" .. case.TestCaseName .. ")" or "")
end

local suites = httproute.suites()

for name, count in pairs(SUITES) do
  describe(name, function()
    local g, o

    setup(function()
      o = httproute.origin()
      local routes = httproute.routes(suites[name])
      for _, route in ipairs(routes) do filters.apply(route) end
      g = gateway.start({ config = httproute.config(routes, o, "tg.settings { workers = 1 }") })
    end)

    teardown(function() g:stop() end)

    it("has all its cases", function() assert.equal(count, #suites[name].cases) end)

    for i, case in ipairs(suites[name].cases) do
      it(title(case, i), function()
        local played = with_backend(case)
        if case.RedirectRequest then
          played.Request.Host = "gateway.test:" .. g.port
        end
        filters.check(httproute.play(g, o, played), played, g.port)
        assert.is_true(httproute.idle(o))
      end)
    end
  end)
end
