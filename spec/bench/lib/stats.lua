-- What becomes of a figure's samples: one value (the median) and its error (the spread).

local stats = {}

local function sort(samples)
  local sorted = { unpack(samples) }
  table.sort(sorted)
  return sorted
end

--- The median of a list of numbers. The list is left as it is.
function stats.median(samples)
  local sorted = sort(samples)
  local middle = math.floor(#sorted / 2)
  if #sorted % 2 == 1 then
    return sorted[middle + 1]
  end
  return (sorted[middle] + sorted[middle + 1]) / 2
end

--- How far the samples lie apart, as fractions of the median: highest minus lowest, and the same
-- without the lowest and the highest quarter, which a neighbour's burst of work does not change.
function stats.spread(samples)
  local sorted, median = sort(samples), stats.median(samples)
  local quarter = math.floor(#sorted / 4)
  local middle = sorted[#sorted - quarter] - sorted[1 + quarter]
  return (sorted[#sorted] - sorted[1]) / median, middle / median
end

--- The ratios of two lists, round by round: what happened to the machine in a round happened to
-- both, so these vary less than the ratio of the medians.
function stats.ratios(ours, theirs)
  local list = {}
  for round, sample in ipairs(ours) do
    list[round] = sample / theirs[round]
  end
  return list
end

return stats
