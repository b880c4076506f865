// What a fuzzed session consists of: two bytes of setup, then actions; how it is read, mutated, and made from recordings.
#pragma once

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "paychan/wire/codec.hpp"
#include "support/bytes.hpp"

extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t max_size);

namespace paychan_fuzz {

using namespace paychan;
using paychan_test::as_bytes;
using paychan_test::bytes;
using paychan_test::owned;

inline constexpr std::size_t max_actions = 48;  // in one session: more would only be slower
inline constexpr std::size_t action_head = 4;   // kind, argument, size of what follows (little-endian)

/// One thing that the peer, the application, the disk, the network or the clock does.
struct action {
    std::uint8_t kind = 0;
    std::uint8_t argument = 0;
    bytes data;

    /// The number in the first 8 bytes of data, little-endian; missing ones are zero.
    [[nodiscard]] std::uint64_t number() const {
        std::uint64_t n = 0;
        for (std::size_t i = std::min<std::size_t>(data.size(), 8); i-- > 0;) n = n << 8 | data[i];
        return n;
    }
    /// The same, kept within what sums of a few cannot overflow.
    [[nodiscard]] std::int64_t amount() const { return static_cast<std::int64_t>(number() % 4'000'000'000'000'000U); }
};

/// Any bytes are a session.
struct session {
    std::array<std::uint8_t, 2> setup{};
    std::vector<action> actions;

    session() = default;
    explicit session(bytes_view from) {
        for (std::size_t i = 0; i < setup.size() && i < from.size(); ++i) setup[i] = from[i];
        from = from.subspan(std::min(from.size(), setup.size()));
        while (from.size() >= action_head && actions.size() < max_actions) {
            const std::size_t size = std::min<std::size_t>(from[2] + 256U * from[3], from.size() - action_head);
            actions.push_back({from[0], from[1], owned(from.subspan(action_head, size))});
            from = from.subspan(action_head + size);
        }
    }

    [[nodiscard]] bytes written() const {
        bytes out(setup.begin(), setup.end());
        for (const action& s : actions) {
            const std::size_t size = std::min<std::size_t>(s.data.size(), 0xffff);
            out.insert(out.end(), {s.kind, s.argument, static_cast<std::uint8_t>(size & 0xff),
                                   static_cast<std::uint8_t>(size >> 8)});
            out.insert(out.end(), s.data.begin(), s.data.begin() + static_cast<std::ptrdiff_t>(size));
        }
        return out;
    }
};

/// The frame of a message; empty when it is too long for one.
[[nodiscard]] inline bytes encoded(const wire::message& m) {
    static std::array<std::uint8_t, wire::max_frame_size> memory;  // large ones from the heap are slow here
    const auto written = wire::small_codec::encode(m, memory);
    return written ? owned(*written) : bytes{};
}

/// Eight bytes that action::number() reads.
[[nodiscard]] inline bytes of_number(std::uint64_t n) {
    bytes out;
    for (int i = 0; i < 8; ++i) out.push_back(static_cast<std::uint8_t>(n >> 8 * i));
    return out;
}

// ---- Mutation: libFuzzer's own, but of one part at a time, so that the rest still means what it meant. ---------------

inline void mutate_bytes(bytes& b, std::size_t longest) {
    const std::size_t size = b.size();
    b.resize(std::max(longest, size));
    b.resize(LLVMFuzzerMutate(b.data(), size, b.size()));
}

/// One field of the message in a frame; false when it is none.
[[nodiscard]] inline bool mutate_field(bytes& frame, std::minstd_rand& random) {
    const bytes before = frame;
    auto decoded = wire::small_codec::decode(before);
    if (!decoded) return false;
    bytes memory;
    int fields = 0;
    int chosen = -1;
    const auto change = [&](auto& member) {
        using member_type = std::remove_cvref_t<decltype(member)>;
        if constexpr (std::is_same_v<member_type, bytes_view>) {
            memory = owned(member);
            mutate_bytes(memory, memory.size() + 16);
            member = memory;
        } else {
            LLVMFuzzerMutate(reinterpret_cast<std::uint8_t*>(&member), sizeof member, sizeof member);
        }
    };
    const auto visit = [&](auto&& self, auto& message) -> void {
        wire::layout(message, [&](wire::field, auto& member) {
            if constexpr (requires { wire::layout(member, [](wire::field, auto&) {}); }) {
                self(self, member);
            } else if (fields++ == chosen) {
                if constexpr (requires { member.has_value(); }) {
                    if (member && random() % 4 == 0) return member.reset();
                    if (!member) member.emplace();
                    if constexpr (requires { wire::layout(*member, [](wire::field, auto&) {}); }) {
                        if (random() % 2 == 0)
                            member->client_change_value = random();
                        else
                            change(member->signature);
                    } else {
                        change(*member);
                    }
                } else {
                    change(member);
                }
            }
        });
    };
    const auto walk = [&] {
        std::visit(
            [&](auto& m) {
                if constexpr (requires { wire::layout(m, [](wire::field, auto&) {}); }) visit(visit, m);
            },
            *decoded);
    };
    walk();
    if (fields == 0) return false;
    chosen = static_cast<int>(random() % static_cast<unsigned>(fields));
    fields = 0;
    walk();
    frame.assign(wire::max_frame_size, 0);
    const auto written = wire::small_codec::encode(*decoded, frame);
    if (!written) {
        frame = before;
        return false;
    }
    frame.resize(written->size());
    return true;
}

/// kinds  how many kinds of action there are; kind 0 carries a message
[[nodiscard]] inline bytes mutated(bytes_view from, unsigned seed, unsigned kinds) {
    std::minstd_rand random(seed + 1);
    session s(from);
    std::vector<action>& actions = s.actions;
    const auto position = [&] { return random() % actions.size(); };
    for (unsigned i = 0, times = 1 + random() % 3; i < times; ++i) {
        switch (actions.empty() ? 0 : random() % 12) {
            case 0:
            case 1: {
                action added{static_cast<std::uint8_t>(random() % kinds), static_cast<std::uint8_t>(random()),
                             of_number(random() % 2 == 0 ? random() % 2'000 : random() % 1'100'000)};
                actions.insert(actions.begin() + static_cast<std::ptrdiff_t>(random() % (actions.size() + 1)), added);
                break;
            }
            case 2: actions.erase(actions.begin() + static_cast<std::ptrdiff_t>(position())); break;
            case 3: {
                const action copy = actions[position()];
                actions.insert(actions.begin() + static_cast<std::ptrdiff_t>(position()), copy);
                break;
            }
            case 4: std::swap(actions[position()], actions[position()]); break;
            case 5: mutate_bytes(s.actions[position()].data, 64); break;
            case 6: actions[position()].kind = static_cast<std::uint8_t>(random() % kinds); break;
            case 7: actions[position()].argument ^= static_cast<std::uint8_t>(1U << random() % 8); break;
            case 8: actions[position()].argument = static_cast<std::uint8_t>(random()); break;
            case 9: s.setup[random() % s.setup.size()] = static_cast<std::uint8_t>(random()); break;
            default: {
                action& chosen = actions[position()];
                if (chosen.kind % kinds != 0 || !mutate_field(chosen.data, random))
                    mutate_bytes(chosen.data, chosen.data.size() + 8);
            }
        }
    }
    return s.written();
}

/// The first actions of one session, and the last of another.
[[nodiscard]] inline bytes crossed(bytes_view a, bytes_view b, unsigned seed) {
    std::minstd_rand random(seed + 1);
    session s(a);
    const session other(b);
    s.actions.resize(random() % (s.actions.size() + 1));
    const std::size_t from = random() % (other.actions.size() + 1);
    s.actions.insert(s.actions.end(), other.actions.begin() + static_cast<std::ptrdiff_t>(from), other.actions.end());
    return s.written();
}

/// As much as fits.
inline std::size_t copy_some(const bytes& from, bytes_span to) {
    const std::size_t fits = std::min(from.size(), to.size());
    std::copy_n(from.begin(), fits, to.begin());
    return fits;
}

// ---- Corpus --------------------------------------------------------------------------------------------------------

/// Writes sessions into a folder, to begin the fuzzing with.
class corpus_writer {
public:
    explicit corpus_writer(const std::filesystem::path& folder) : folder_(folder) {
        std::filesystem::create_directories(folder);
    }
    void add(const session& s) {
        const bytes b = s.written();
        std::ofstream(folder_ / ("begin-" + std::to_string(++count_)), std::ios::binary)
            .write(reinterpret_cast<const char*>(b.data()), static_cast<std::streamsize>(b.size()));
    }

private:
    std::filesystem::path folder_;
    int count_ = 0;
};

/// A message that was recorded on the wire.
struct recorded {
    int connection = 1;
    bool from_client = false;
    bytes frame;
};

/// Calls f(protocol, messages) for each recorded session of the reference implementation.
template <class F>
void for_each_recording(F&& f) {
    for (const auto& entry : std::filesystem::directory_iterator(PAYCHAN_TEST_VECTORS "/bitcoinj")) {
        if (entry.path().extension() != ".json") continue;
        const auto file = nlohmann::json::parse(std::ifstream(entry.path()));
        std::vector<recorded> messages;
        for (const auto& e : file.at("exchange"))
            if (e.contains("frame") && e.at("frame").is_string())
                messages.push_back({e.value("conn", 1), e.at("from") == "client",
                                    paychan_test::unhex(e.at("frame").get<std::string>())});
        f(file.at("protocol").get<int>(), messages);
    }
}

// ---- What each fuzzer defines. ---------------------------------------------------------------------------------------

/// How many kinds of action there are; kind 0 carries a message.
extern const unsigned kinds;
/// Runs a session; aborts when something is true that must not be.
void play(const session& s);
void write_corpus(corpus_writer& to);

/// Calls f(action) for an action of that kind with each single flaw that an argument can ask for.
template <class F>
void for_each_flaw(std::uint8_t kind, F&& f) {
    for (const std::uint8_t argument : std::initializer_list<std::uint8_t>{0, 1, 2, 3, 4, 6, 7, 8, 10, 11, 16, 32, 64,
                                                                           128, 0x11, 0x21, 0x31, 0x41, 0x51})
        for (const std::uint64_t number : {1U, 300U, 950U, 15'000U}) f(action{kind, argument, of_number(number)});
}

}  // namespace paychan_fuzz

// ---- What libFuzzer calls. -------------------------------------------------------------------------------------------

/// With `--corpus FOLDER` as the first argument the program writes what to begin with, and ends.
extern "C" int LLVMFuzzerInitialize(int* argc, char*** argv) {
    if (*argc == 3 && std::string_view((*argv)[1]) == "--corpus") {
        paychan_fuzz::corpus_writer to((*argv)[2]);
        paychan_fuzz::write_corpus(to);
        std::exit(0);
    }
    return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    paychan_fuzz::play(paychan_fuzz::session(paychan::bytes_view{data, size}));
    return 0;
}

extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size, std::size_t max_size,
                                               unsigned seed) {
    const auto mutated = paychan_fuzz::mutated({data, size}, seed, paychan_fuzz::kinds);
    return paychan_fuzz::copy_some(mutated, {data, max_size});
}

extern "C" std::size_t LLVMFuzzerCustomCrossOver(const std::uint8_t* a, std::size_t a_size, const std::uint8_t* b,
                                                 std::size_t b_size, std::uint8_t* out, std::size_t max_size,
                                                 unsigned seed) {
    return paychan_fuzz::copy_some(paychan_fuzz::crossed({a, a_size}, {b, b_size}, seed), {out, max_size});
}
