// bitcoind_follow: prints what the bitcoind backend tells a listener, one JSON object a line, for the real-node suite.
//     bitcoind_follow --chain rpc:http://USER:PASS@HOST:PORT [--network regtest] [--from HEIGHT] [--position FILE]
//                     [--poll-ms 200]
// --position goes on from the file's place, if there is one, and writes it on quit: `HEIGHT HASH`, a line for each block.
// Commands on stdin, one a line: `broadcast HEX`, `quit` (as is the end of stdin).
#include <unistd.h>

#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/streambuf.hpp>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <istream>
#include <string>
#include <vector>

#include "paychan/bitcoind/backend.hpp"

namespace {

namespace asio = boost::asio;
using namespace paychan;
using bitcoind::json;

void print(const json& line) {
    std::puts(line.dump(-1, ' ', false, json::error_handler_t::replace).c_str());
    std::fflush(stdout);
}

std::string text(const std::array<char, 64>& hex) { return {hex.data(), hex.size()}; }

struct printer {
    static constexpr chain_turn chain_order = chain_turn::others;
    void on_chain(const chain_event& e) {
        match(
            e, [this](const connected_block& b) { on_block(b); },
            [](const disconnected_blocks& d) {
                print({{"event", "blocks_disconnected"}, {"from", d.from}});
            },
            [this](const broadcast_answer& a) { on_broadcast(a.id, a.outcome, a.words); },
            [](const fee_estimate& f) {
                print({{"event", "fee_rate"}, {"sat_per_kvb", f.rate.sat_per_kvb}});
            });
    }

    void on_block(const connected_block& b) {
        std::size_t transactions = 0;
        auto block = open_block(b.raw);
        while (block && block->left() > 0 && block->next()) ++transactions;
        print({{"event", "block"},
               {"height", b.height},
               {"hash", text(display(block_hash{b.hash}))},
               {"median_time", b.median_time.seconds},
               {"transactions", transactions}});
    }
    void on_broadcast(const txid& id, broadcast_outcome outcome, std::string_view reason) {
        const char* names[] = {"accepted", "refused", "unreachable"};
        print({{"event", "broadcast"},
               {"txid", text(display(id))},
               {"outcome", names[static_cast<int>(outcome)]},
               {"reason", reason}});
    }
};

chain_position read_position(const std::string& name) {
    chain_position p;
    std::ifstream file(name);
    std::int32_t height = 0;
    for (std::string hash; file >> height >> hash;)
        if (const auto parsed = parse_block_hash(hash)) p.push_back(chain_place{height, parsed->bytes});
    return p;
}

void write_position(const std::string& name, const chain_position& p) {
    std::ofstream file(name);
    for (const chain_place& place : p) file << place.height << ' ' << text(display(block_hash{place.hash})) << '\n';
}

struct commands {
    asio::posix::stream_descriptor in;
    bitcoind::backend& chain;
    asio::streambuf buffer{1 << 20};

    void stop() {
        chain.stop();
        boost::system::error_code ignored;
        in.close(ignored);
    }

    void next() {
        asio::async_read_until(in, buffer, '\n', [this](boost::system::error_code ec, std::size_t) {
            if (ec == asio::error::operation_aborted) return;
            if (ec) return stop();
            std::istream lines(&buffer);
            std::string line;
            std::getline(lines, line);
            if (line == "quit") return stop();
            if (line.starts_with("broadcast ")) {
                std::vector<std::uint8_t> tx(line.size() / 2);
                const auto bytes = from_hex(std::string_view(line).substr(10), tx);
                if (bytes)
                    chain.broadcast(*bytes);
                else
                    print({{"event", "error"}, {"text", bytes.error().text}});
            }
            next();
        });
    }
};

}  // namespace

int main(int count, char** values) {
    const std::vector<std::string> args(values + 1, values + count);
    const auto option = [&](std::string_view name, std::string fallback) {
        for (std::size_t i = 0; i + 1 < args.size(); i += 2)
            if (args[i] == name) return args[i + 1];
        return fallback;
    };
    const auto node = bitcoind::parse_node_address(option("--chain", ""));
    if (!node) {
        std::fprintf(stderr, "bitcoind_follow: %.*s\n", static_cast<int>(node.error().text.size()),
                     node.error().text.data());
        return 2;
    }
    bitcoind::backend_settings settings;
    settings.chain = bitcoind::core_chain_name(option("--network", "regtest"));
    std::optional<std::int32_t> first;
    if (const std::string from = option("--from", ""); !from.empty()) first = std::atoi(from.c_str());
    settings.poll = std::chrono::milliseconds(std::atoi(option("--poll-ms", "200").c_str()));
    settings.rpc.timeout = std::chrono::milliseconds(std::atoi(option("--timeout-ms", "30000").c_str()));
    settings.on_status = [](bitcoind::node_status status, const bitcoind::rpc_error&, std::string_view words) {
        const char* names[] = {"following", "syncing", "waiting", "unreachable", "failed"};
        print({{"event", "node"}, {"status", names[static_cast<int>(status)]}, {"text", words}});
    };
    settings.on_progress = [](std::int32_t height, std::int32_t tip) {
        print({{"event", "catch_up"}, {"height", height}, {"tip", tip}});
    };

    asio::io_context io;
    printer out;
    bitcoind::backend chain(io, *node, settings);
    commands from_stdin{asio::posix::stream_descriptor(io, ::dup(STDIN_FILENO)), chain};
    chain.start(out);
    const std::string position = option("--position", "");
    chain.follow(read_position(position), first);
    from_stdin.next();
    io.run();
    if (!position.empty()) write_position(position, chain.position());
    return 0;
}
