// bitcoind_follow: prints what the bitcoind backend tells a follower, one JSON object a line, for the real-node suite.
//     bitcoind_follow --chain rpc:http://USER:PASS@HOST:PORT [--network regtest] [--from HEIGHT] [--poll-ms 200] [--depth
//     2016]
// Commands on stdin, one a line: `broadcast HEX`, `quit` (as is the end of stdin).
#include <unistd.h>

#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/streambuf.hpp>
#include <cstdio>
#include <cstdlib>
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
    void on_block_disconnected(std::int32_t height) { print({{"event", "block_disconnected"}, {"height", height}}); }
    void on_broadcast(const txid& id, broadcast_outcome outcome, std::string_view reason) {
        const char* names[] = {"accepted", "refused", "unreachable"};
        print({{"event", "broadcast"},
               {"txid", text(display(id))},
               {"outcome", names[static_cast<int>(outcome)]},
               {"reason", reason}});
    }
    void on_fee_rate(fee_rate rate) { print({{"event", "fee_rate"}, {"sat_per_kvb", rate.sat_per_kvb}}); }
    void on_node_status(bitcoind::node_status status, std::string_view words) {
        const char* names[] = {"following", "syncing", "waiting", "unreachable", "failed"};
        print({{"event", "node"}, {"status", names[static_cast<int>(status)]}, {"text", words}});
    }
    void on_catch_up(std::int32_t height, std::int32_t tip) {
        print({{"event", "catch_up"}, {"height", height}, {"tip", tip}});
    }
};

struct commands {
    asio::posix::stream_descriptor in;
    bitcoind::backend<printer>& chain;
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
    if (const std::string from = option("--from", ""); !from.empty()) settings.walk.from = std::atoi(from.c_str());
    settings.walk.max_reorg_depth = std::atoi(option("--depth", "2016").c_str());
    settings.poll = std::chrono::milliseconds(std::atoi(option("--poll-ms", "200").c_str()));
    settings.rpc.timeout = std::chrono::milliseconds(std::atoi(option("--timeout-ms", "30000").c_str()));

    asio::io_context io;
    printer out;
    bitcoind::backend<printer> chain(io, *node, out, settings);
    commands from_stdin{asio::posix::stream_descriptor(io, ::dup(STDIN_FILENO)), chain};
    chain.start();
    from_stdin.next();
    io.run();
    return 0;
}
