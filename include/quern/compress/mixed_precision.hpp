// mixed_precision.hpp — which layer gets how many bits: the exact optimum under a budget, and all optima at once.
//
// Each layer has choices, each with a cost (bytes, nanoseconds, picojoules: any one unit) and a loss (how much it hurts). One is
// taken a layer; costs and losses add up. That is the multiple-choice knapsack problem. Layer after layer, the partial solutions
// that no other one beats in both cost and loss are kept: the list after the last layer is the Pareto front, every budget's optimum.
//
// @cost   front size × choices × layers. Costs in whole bytes or nanoseconds keep the front below their sum.
// @source Kellerer, Pferschy, Pisinger, Knapsack Problems, 2004, chapter 11 (dynamic programming with lists).
#pragma once

#include "../config/abi.hpp"
#include "../core/error.hpp"
#include "../core/math.hpp"

#include <algorithm>
#include <vector>

namespace quern::compress {

/// One way to store and run a layer.
struct layer_choice {
  int bits = 8;
  double cost = 0;   ///< not negative
  double loss = 0;
};

/// One of the best compromises.
struct pareto_point {
  double cost = 0, loss = 0;
  std::vector<int> choice;   ///< an index into each layer's choices
};

inline namespace QUERN_ABI {

/// Every compromise that no other one beats, by rising cost and falling loss. `max_states` bounds the memory.
/// @errors argument when a layer has no choice, a cost or loss is not finite or a cost negative; capacity beyond max_states (round the
///         costs to a coarser unit then).
inline std::vector<pareto_point> pareto_front(std::vector<std::vector<layer_choice>> const& layers, std::size_t max_states = 4'000'000) {
  struct state {
    double cost, loss;
    int before, choice;
  };
  std::vector<std::vector<state>> steps{{{0.0, 0.0, -1, -1}}};
  for (std::size_t l = 0; l < layers.size(); ++l) {
    if (layers[l].empty()) fail(errc::argument, "pareto_front: layer ", l, " has no choice; it needs at least one.");
    for (layer_choice const& c : layers[l])
      if (!is_finite(c.cost) || !is_finite(c.loss) || c.cost < 0)
        fail(errc::argument, "pareto_front: layer ", l, " has a choice with cost ", c.cost, " and loss ", c.loss, "; both must be finite, the cost not negative.");
    std::vector<state> const& last = steps.back();
    if (last.size() * layers[l].size() > max_states)
      fail(errc::capacity, "pareto_front: ", last.size(), " partial solutions times ", layers[l].size(), " choices of layer ", l,
           " exceed max_states = ", max_states, "; round the costs to a coarser unit.");
    std::vector<state> next;
    next.reserve(last.size() * layers[l].size());
    for (std::size_t s = 0; s < last.size(); ++s)
      for (std::size_t c = 0; c < layers[l].size(); ++c)
        next.push_back({last[s].cost + layers[l][c].cost, last[s].loss + layers[l][c].loss, static_cast<int>(s), static_cast<int>(c)});
    std::sort(next.begin(), next.end(), [](state const& a, state const& b) {
      if (a.cost != b.cost) return a.cost < b.cost;
      if (a.loss != b.loss) return a.loss < b.loss;
      return a.before != b.before ? a.before < b.before : a.choice < b.choice;
    });
    std::vector<state> kept;
    for (state const& s : next)
      if (kept.empty() || s.loss < kept.back().loss) kept.push_back(s);
    steps.push_back(std::move(kept));
  }
  std::vector<pareto_point> front;
  for (state const& end : steps.back()) {
    pareto_point p{end.cost, end.loss, std::vector<int>(layers.size())};
    state const* s = &end;
    for (std::size_t l = layers.size(); l-- > 0;) {
      p.choice[l] = s->choice;
      s = &steps[l][static_cast<std::size_t>(s->before)];
    }
    front.push_back(std::move(p));
  }
  return front;
}

/// The least loss within a budget. @errors argument when even the cheapest choices cost more, saying how much they do.
inline pareto_point allocate_bits(std::vector<std::vector<layer_choice>> const& layers, double budget) {
  std::vector<pareto_point> const front = pareto_front(layers);
  pareto_point const* best = nullptr;
  for (pareto_point const& p : front)
    if (p.cost <= budget) best = &p;
  if (best == nullptr)
    fail(errc::argument, "allocate_bits: the budget is ", budget, ", but the cheapest choice of every layer together costs ", front.front().cost, "; no allocation fits.");
  return *best;
}

/// How an energy estimate grows with the widths: a multiply-accumulate of a×w bits costs about a·w / 64 of an 8×8 one, a memory access
/// about 200 of them for each byte (45 nm figures of Horowitz, ISSCC 2014: 0.2 pJ for an 8-bit multiply, 1.3-2.6 nJ / 64 B for DRAM).
inline double energy_picojoule(double macs, double weight_bytes, int weight_bits, int activation_bits) noexcept {
  return macs * 0.23 * weight_bits * activation_bits / 64.0 + weight_bytes * 40.0;
}

}  // inline namespace QUERN_ABI
}  // namespace quern::compress
