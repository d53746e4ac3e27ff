-- Orders plugin instances into chains.
--
-- Purpose    A request on a route meets the instances of everything, its listener, its service and the route
--            itself. Which of them run, and in what order, is decided here, once, when the configuration is
--            built.
-- Rules      1. Of instances of one plugin with the same id (or none), the most specific runs:
--               route > service > listener > global; route and consumer > consumer for a consumer's own.
--            2. Stages in order: edge, auth, guard, traffic, transform, observe.
--            3. Inside a stage: higher priority first, then scope (global, listener, service, route), then
--               the order of declaration; `before` and `after` bend that order as little as they must.
--            4. rewrite, access and log run in this order, header_filter and body_filter in reverse, so that
--               plugins nest. message stands in this order: what the origin sends passes it in reverse.
--            A name in before or after that is not in the chain is no constraint; one in an earlier or later
--            stage is an error when it contradicts the stages.
-- Ownership  Pure functions on instance records: index, name, id, plugin, before, after.
-- Cost       n log n for each distinct set of instances; the square of a stage's size where constraints
--            stand.

local chain = {}

local PHASES = require("tidegate.plugin").PHASES
local REVERSED = { header_filter = true, body_filter = true }

-- Rule 1. `scopes` are lists of instances, the least specific first.
local function most_specific(scopes)
  local owner, all = {}, {}
  for _, scope in ipairs(scopes) do
    for _, instance in ipairs(scope) do
      owner[instance.plugin.index .. "\0" .. (instance.id or "")] = instance
      all[#all + 1] = instance
    end
  end
  local kept, seen = {}, {}
  for _, instance in ipairs(all) do
    if owner[instance.plugin.index .. "\0" .. (instance.id or "")] == instance and not seen[instance] then
      seen[instance] = true
      kept[#kept + 1] = instance
    end
  end
  return kept
end

-- Rule 3 without constraints; `position` is the place after rule 1.
local function by_priority(position)
  return function(a, b)
    if a.plugin.rank ~= b.plugin.rank then return a.plugin.rank < b.plugin.rank end
    if a.plugin.priority ~= b.plugin.priority then return a.plugin.priority > b.plugin.priority end
    return position[a] < position[b]
  end
end

--- Whether `name`, of a before or after, means this instance.
function chain.matches(instance, name)
  return instance.plugin.name == name or instance.name == name or instance.id == name
end

-- Pairs (earlier, later) that before and after demand; nil and the offender when the stages forbid one.
local function constraints(instances)
  local pairs_of = {}
  for _, instance in ipairs(instances) do
    for _, other in ipairs(instances) do
      local first = instance.before and chain.matches(other, instance.before) and instance
      local second = instance.after and chain.matches(other, instance.after) and instance
      if other ~= instance and (first or second) then
        local earlier, later = first or other, first and other or second
        if earlier.plugin.rank > later.plugin.rank then
          local why = "stage %s runs after stage %s"
          return nil, instance, why:format(earlier.plugin.stage, later.plugin.stage)
        end
        pairs_of[#pairs_of + 1] = { earlier, later }
        if first and second then pairs_of[#pairs_of + 1] = { other, instance } end
      end
    end
  end
  return pairs_of
end

-- Takes, again and again, the first instance that waits for nobody.
local function topological(instances, pairs_of)
  local waits, sorted, left = {}, {}, {}
  for i, instance in ipairs(instances) do left[i], waits[instance] = instance, 0 end
  for _, pair in ipairs(pairs_of) do waits[pair[2]] = waits[pair[2]] + 1 end
  while #left > 0 do
    local at
    for i, instance in ipairs(left) do
      if waits[instance] == 0 then
        at = i
        break
      end
    end
    if not at then return nil, left[1], "before and after go round in a circle" end
    local instance = table.remove(left, at)
    sorted[#sorted + 1] = instance
    for _, pair in ipairs(pairs_of) do
      if pair[1] == instance then waits[pair[2]] = waits[pair[2]] - 1 end
    end
  end
  return sorted
end

--- The instances that run, in request order.
-- @tparam {table,...} scopes lists of instances: global, listener, service, route
-- @treturn table|nil
-- @treturn table the instance whose before or after cannot be met
-- @treturn string why
function chain.order(scopes)
  local instances, position = most_specific(scopes), {}
  for i, instance in ipairs(instances) do position[instance] = i end
  table.sort(instances, by_priority(position))
  local pairs_of, offender, why = constraints(instances)
  if not pairs_of then return nil, offender, why end
  if #pairs_of == 0 then return instances end
  return topological(instances, pairs_of)
end

-- Shared by all phases without plugins: most of them.
local NOBODY = {}

--- The chain of each phase, as indices.
-- @tparam {table,...} ordered from chain.order
-- @tparam table leave_out phases that do not run here
function chain.phases(ordered, leave_out)
  local phases = {}
  for _, phase in ipairs(PHASES) do
    local list = {}
    for _, instance in ipairs(leave_out[phase] and {} or ordered) do
      if instance.plugin.phases[phase] then
        table.insert(list, REVERSED[phase] and 1 or #list + 1, instance.index)
      end
    end
    phases[phase] = #list > 0 and list or NOBODY
  end
  return phases
end

return chain
