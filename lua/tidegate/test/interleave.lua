-- --interleave: does what one request stores leak into another?
--
-- Purpose    Runs each request of p:run a second time, as two at once, in a gateway of its own: whenever the
--            plugin waits, the other request goes on. Module tables and upvalues that both wrote are
--            reported: a counter, a cache that no request may trust, or a mistake.
-- Invariants The spec's own run, its results, its mock calls and its clock stay as they are; handlers of
--            mocks run for the pair as well.
-- Ownership  Each plugin object has one such twin, closed with it.
-- Cost       Twice the run, and a look at all module tables at each entry.

local behaviour = require "tidegate.test.behaviour"
local world = require "tidegate.test.world"

local interleave = { found = {} }

local twins = setmetatable({}, { __mode = "k" })

local function twin_of(p)
  local twin = twins[p]
  if twin and twin.snapshot == p.world.snapshot then return twin end
  if twin then twin:close() end
  twin = assert(world.new(p.world.snapshot))
  twin.is_apart = true -- the spec's clock is not turned by what the pair waits for
  twin.core:watch_state(true)
  twin.core:consumer(p.consumer)
  twins[p] = twin
  return twin
end

--- Takes over how things stand before the spec's own run, which may move them on.
function interleave.prepare(p)
  local twin = twin_of(p)
  for service, value in pairs(p.world.origins.services) do
    twin.origins:set(service, behaviour.copy(value))
  end
  twin.core:only(p.only)
end

local function note(p, writers, request)
  for name, ids in pairs(writers) do
    local count = 0
    for _ in pairs(ids) do count = count + 1 end
    if count > 1 then
      local key = p.name .. "\0" .. name
      local found = interleave.found[key] or { plugin = p.name, table = name, requests = {} }
      interleave.found[key] = found
      found.requests[("%s %s"):format(request.method or "GET", request.path or "/")] = true
    end
  end
end

--- Runs the pair, after interleave.prepare().
function interleave.run(p, request)
  local twin, writers = twins[p], {}
  twin.on_wrote = function(event)
    writers[event.table] = writers[event.table] or {}
    writers[event.table][event.request] = true
  end
  local results = {}
  for i = 1, 2 do
    local client = assert(twin:connect { ip = request.client and request.client.ip })
    results[i] = { client = client, waiting = twin:send(client, request) }
  end
  for _, one in ipairs(results) do twin:finish(one.waiting) end
  for _, one in ipairs(results) do twin:hang_up(one.client) end
  note(p, writers, request)
end

--- The plugin object goes.
function interleave.leave(p)
  if twins[p] then twins[p]:close() end
  twins[p] = nil
end

--- What was found, ready to print.
function interleave.report()
  local lines = {}
  for _, found in pairs(interleave.found) do
    local requests = {}
    for name in pairs(found.requests) do requests[#requests + 1] = name end
    table.sort(requests)
    lines[#lines + 1] = ("  plugin %s: %q was written by both requests: %s"):format(found.plugin, found.table,
                                                                              table.concat(requests, ", "))
  end
  table.sort(lines)
  if #lines == 0 then return "interleave: no module table was written by two requests at once\n" end
  return "interleave: state that requests share\n" .. table.concat(lines, "\n") .. "\n"
end

return interleave
