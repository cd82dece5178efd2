// The numbers of a seed, one by one those of numpy.random.Generator(numpy.random.Philox(seed)): Philox4x64-10 (Salmon
// et al. 2011), keyed by NumPy's SeedSequence, and for normal ones a ziggurat of 256 layers (Marsaglia and Tsang 2000)
// in float32. Needs a compiler with unsigned __int128, such as GCC or Clang.
#pragma once

#include <array>
#include <cmath>
#include <cstdint>

class Philox {
 public:
  explicit Philox(std::uint64_t seed, std::uint64_t jumps = 0) : key_(key_of(seed)), counter_{0, 0, jumps, 0} {}

  // The next 32 random bits.
  std::uint32_t word() {
    if (position_ == 8) {
      refill();
      position_ = 0;
    }
    const std::uint64_t number = block_[position_ / 2];
    return static_cast<std::uint32_t>(position_++ % 2 ? number >> 32 : number);  // the low half first
  }

  // A number in [0, 1) with 24 random bits.
  float uniform() { return static_cast<float>(word() >> 8) * (1.0f / 16777216.0f); }

  // A standard normal number.
  float normal() {
    static const Ziggurat ziggurat;
    const auto& [width, height, accept] = ziggurat;
    for (;;) {
      const std::uint32_t bits = word(), layer = bits & 255, magnitude = bits >> 9;
      const float inside = static_cast<float>(magnitude) * width[layer], x = bits & 256 ? -inside : inside;
      if (magnitude < accept[layer]) return x;
      if (layer == 0) return tail(magnitude & 256 ? -1.0f : 1.0f);
      // volatile: no fused multiply-add, which would round once where NumPy rounds twice
      const volatile float step = (height[layer - 1] - height[layer]) * uniform();
      if (step + height[layer] < std::exp(-0.5 * x * x)) return x;
    }
  }

 private:
  using Words = std::array<std::uint64_t, 4>;
  static constexpr double kEdge = 3.6541528853610088;  // where the tail begins

  struct Ziggurat {
    std::array<float, 256> width, height;  // of a layer over 2^23, and the density at its edge
    std::array<std::uint32_t, 256> accept;  // the share of 2^23 that is inside whatever the height

    Ziggurat() {
      constexpr double area = 0.00492867323399, scale = 8388608;
      std::array<double, 256> exact{};
      double x = kEdge;
      exact[255] = std::exp(-0.5 * x * x);
      width[255] = static_cast<float>(x / scale);
      width[0] = static_cast<float>(area / exact[255] / scale);
      accept[0] = static_cast<std::uint32_t>(std::lround(x * exact[255] / area * scale));
      exact[0] = 1;
      for (int layer = 254; layer > 0; --layer) {
        const double next = std::sqrt(-2 * std::log(area / x + exact[layer + 1]));
        accept[layer + 1] = static_cast<std::uint32_t>(std::lround(next / x * scale));
        width[layer] = static_cast<float>(next / scale);
        exact[layer] = std::exp(-0.5 * next * next);
        x = next;
      }
      accept[1] = 0;
      for (int layer = 0; layer < 256; ++layer) height[layer] = static_cast<float>(exact[layer]);
    }
  };

  float tail(float sign) {
    for (;;) {
      const float x = -0.27366123732975828f * std::log1p(-uniform()), y = -std::log1p(-uniform());
      if (y + y > x * x) return sign * (static_cast<float>(kEdge) + x);
    }
  }

  void refill() {
    for (auto& part : counter_) {
      if (++part != 0) break;  // carries to the next one
    }
    auto [a, b, c, d] = counter_;
    auto [k, l] = key_;
    for (int round = 0; round < 10; ++round) {
      const auto p = static_cast<unsigned __int128>(0xD2E7470EE14C6C93) * a;
      const auto q = static_cast<unsigned __int128>(0xCA5A826395121157) * c;
      a = static_cast<std::uint64_t>(q >> 64) ^ b ^ k;
      b = static_cast<std::uint64_t>(q);
      c = static_cast<std::uint64_t>(p >> 64) ^ d ^ l;
      d = static_cast<std::uint64_t>(p);
      k += 0x9E3779B97F4A7C15;
      l += 0xBB67AE8584CAA73B;
    }
    block_ = {a, b, c, d};
  }

  // NumPy's SeedSequence(seed).generate_state(2, uint64).
  static std::array<std::uint64_t, 2> key_of(std::uint64_t seed) {
    const auto fold = [](std::uint32_t value) { return value ^ (value >> 16); };
    const auto hasher = [fold](std::uint32_t constant, std::uint32_t factor) {
      return [=](std::uint32_t value) mutable {
        value ^= constant;
        constant *= factor;
        return fold(value * constant);
      };
    };
    auto hash = hasher(0x43B0D7E5, 0x931E8875);
    std::array<std::uint32_t, 4> pool{};
    pool[0] = hash(static_cast<std::uint32_t>(seed));
    pool[1] = hash(static_cast<std::uint32_t>(seed >> 32));
    pool[2] = hash(0);
    pool[3] = hash(0);
    for (int from = 0; from < 4; ++from) {
      for (int to = 0; to < 4; ++to) {
        if (to != from) pool[to] = fold(0xCA01F9DDu * pool[to] - 0x4973F715u * hash(pool[from]));
      }
    }
    auto spread = hasher(0x8B51F9DD, 0x58F38DED);
    std::array<std::uint64_t, 4> state{};
    for (int i = 0; i < 4; ++i) state[i] = spread(pool[i]);
    return {state[1] << 32 | state[0], state[3] << 32 | state[2]};
  }

  std::array<std::uint64_t, 2> key_;
  Words counter_, block_{};
  int position_ = 8;
};
