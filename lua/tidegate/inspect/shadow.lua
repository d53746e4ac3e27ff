-- Routes that no request reaches, because others that come before them take all that they match.
--
-- Purpose    Precedence puts the more specific match first, so a shadow needs an explicit priority, or
--            several routes that together name all methods of another. Only what can be proven is told
--            (cover.lua).
-- How        For each entry (route, host, path) the entries that come before it and cover its host, its
--            path and its conditions are looked up in a tree of segments for each host; when their methods
--            together have all of its own, it is shadowed.
-- Cost       The depth of the path for each entry and the number of those that cover it. After STEPS
--            comparisons the search ends: a table that needs more has thousands of alternatives at one
--            path.

local cover = require "tidegate.inspect.cover"

local shadow = {}

local STEPS = 4e6
local NOT_CONDITIONS = { name = true, hosts = true, paths = true, methods = true, priority = true }

-- The conditions of a route besides host, path and methods.
local function conditions_of(route)
  local found = {}
  for field in pairs(route.match) do
    if not NOT_CONDITIONS[field] then found[field] = route.value[field] end
  end
  return found
end

-- A node of the tree: children by text, parameters by constraint, and lists of the entries that end here.
local function new_node()
  return { text = {}, params = {}, ends = {}, rests = {}, prefixes = {} }
end

local function insert(root, entry)
  local node = root
  for _, segment in ipairs(entry.segments) do
    if segment.prefix then
      table.insert(node.prefixes, entry)
      return
    elseif segment.rest then
      table.insert(node.rests, entry)
      return
    end
    local children, key = node.text, segment.text
    if segment.param then children, key = node.params, segment.constraint or "" end
    children[key] = children[key] or new_node()
    node = children[key]
  end
  table.insert(node.ends, entry)
end

-- Calls `visit` with each list of entries that may cover the segments from `at` on.
local function walk(node, segments, at, visit)
  visit(node.prefixes)
  local segment = segments[at]
  if not segment then
    visit(node.ends)
    return
  end
  visit(node.rests)
  if segment.prefix or segment.rest then return end
  local child = segment.text and node.text[segment.text]
  if child then walk(child, segments, at + 1, visit) end
  for _, param in pairs(node.params) do walk(param, segments, at + 1, visit) end
end

-- What comes of the order: entries with all that the comparison needs, and the trees by host.
local function index(model)
  local entries, trees, conditions = {}, {}, {}
  for rank, item in ipairs(model.order) do
    local route = model.objects.route[item.route]
    conditions[route] = conditions[route] or conditions_of(route)
    local entry = { rank = rank, route = route, host = item.host:lower(), path = item.path,
                    methods = item.auto_head and { "HEAD" } or route.value.methods,
                    auto_head = item.auto_head,
                    segments = cover.segments(item.path), conditions = conditions[route] }
    entries[rank] = entry
    if entry.segments then
      trees[entry.host] = trees[entry.host] or new_node()
      insert(trees[entry.host], entry)
    end
  end
  return entries, trees
end

-- Takes the methods of `entry` out of those that are `left`; true when nothing is left.
local function take(left, entry)
  if not entry.methods then return true end
  if left == "all" then return false end
  for _, method in ipairs(entry.methods) do left[method] = nil end
  return next(left) == nil
end

local function methods_left(entry)
  if not entry.methods then return "all" end
  local left = {}
  for _, method in ipairs(entry.methods) do left[method] = true end
  return left
end

-- The routes that take everything before `entry` can; nil when something is left for it.
local function takers_of(entry, trees, budget)
  local found = {}
  for _, host in ipairs(cover.hosts(entry.host)) do
    if trees[host] then
      walk(trees[host], entry.segments, 1, function(list)
        for _, other in ipairs(list) do
          budget.steps = budget.steps - 1
          if budget.steps < 0 then return end
          if other.rank < entry.rank and other.route ~= entry.route and
             cover.path(other.segments, entry.segments) and
             cover.conditions(other.conditions, entry.conditions) then
            found[#found + 1] = other
          end
        end
      end)
    end
  end
  table.sort(found, function(a, b) return a.rank < b.rank end)
  local left, takers = methods_left(entry), {}
  for _, other in ipairs(found) do
    takers[#takers + 1] = other
    if take(left, other) then return takers end
  end
end

--- Finds what is shadowed.
-- @tparam table model with `order`
-- @treturn table list of { route, host, path, takers = entries }, in order of precedence, and for each
--   route how many entries it has and how many of them are shadowed, as `total` and `lost` by route
function shadow.find(model)
  local entries, trees = index(model)
  local budget, found = { steps = STEPS }, { total = {}, lost = {} }
  for _, entry in ipairs(entries) do
    if not entry.auto_head then
      local route = entry.route
      found.total[route] = (found.total[route] or 0) + 1
      local takers = entry.segments and budget.steps > 0 and takers_of(entry, trees, budget)
      if takers then
        found.lost[route] = (found.lost[route] or 0) + 1
        found[#found + 1] = { route = route, host = entry.host, path = entry.path, takers = takers }
      end
    end
  end
  return found
end

return shadow
