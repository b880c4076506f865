// What the node's answers mean to us: pure functions from an rpc_result to a broadcast's outcome, a fee rate, the
// chain's state.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "paychan/bitcoin/block.hpp"
#include "paychan/bitcoind/amount.hpp"
#include "paychan/bitcoind/rpc_error.hpp"
#include "paychan/policy.hpp"

namespace paychan::bitcoind {

struct broadcast_result {
    broadcast_outcome outcome = broadcast_outcome::unreachable;
    std::string reason;  ///< empty when it was taken now
    fee_refusal for_fee = fee_refusal::none;
    bool is_mined = false;     ///< accepted: a block has it already
    bool lacks_input = false;  ///< refused: something that it spends is spent in a block, or is nowhere
};

/// Which of the words of a refusal ask for a higher fee.
/// Source  Bitcoin Core validation.cpp: "min relay fee not met", "mempool min fee not met", "mempool full", "insufficient
///         fee, rejecting replacement ...", and "txn-mempool-conflict", for one that no fee replaces, which is neither.
[[nodiscard]] inline fee_refusal read_fee_refusal(std::string_view words) {
    if (words.find("insufficient fee") != std::string_view::npos) return fee_refusal::outbid;
    for (const std::string_view known : {"fee not met", "mempool full"})
        if (words.find(known) != std::string_view::npos) return fee_refusal::underpaid;
    return fee_refusal::none;
}

/// The outcome of sendrawtransaction for the transaction `id`.
/// Accepted: it is in the mempool now or was before, or is in a block.  Refused: the network's rules say no, which
/// includes -25, missing or spent inputs: whether the parent will still come is for the caller to know.  Anything else,
/// also an error that says nothing about the transaction, is `unreachable`: to be tried again.
/// Source  Bitcoin Core rpc/protocol.h: -22 decoding, -25 and -26 verification, -27 in a block.
[[nodiscard]] inline broadcast_result read_broadcast(const rpc_result& answer, const txid& id) {
    using enum broadcast_outcome;
    if (answer) {
        const auto named = parse_txid(text_or_empty(*answer));
        if (named && *named == id) return {accepted, ""};
        return {unreachable, "the node answered with another txid"};
    }
    const rpc_error& e = answer.error();
    if (e.failure != rpc_failure::node_error) return {unreachable, e.message};
    const std::string_view words = e.message;
    if (e.code == -27) return {accepted, e.message, fee_refusal::none, true};
    if (e.code == -25 || e.code == -26) {
        // Older nodes and dialects refuse what they have.  With the last of these only the witness differs, not the
        // txid.
        for (const std::string_view known :
             {"txn-already-in-mempool", "txn-already-known", "txn-same-nonwitness-data-in-mempool"})
            if (words.starts_with(known)) return {accepted, e.message};
        return {refused, e.message, read_fee_refusal(words), false,
                words.starts_with("bad-txns-inputs-missingorspent")};
    }
    if (e.code == -22) return {refused, e.message};
    return {unreachable, "the node cannot take it now (error " + std::to_string(e.code) + "): " + e.message};
}

struct fee_settings {
    fee_rate fallback{2'000};  ///< [sat/kvB] when the node has no estimate: twice the least that nodes relay
    fee_rate max{200'000};     ///< [sat/kvB] no estimate or floor makes us pay more
    int target = 6;            ///< [blocks] within which a transaction should confirm
};

/// False when nothing is known by it: what was known before still holds.
[[nodiscard]] inline bool is_an_answer(const rpc_result& answer) {
    if (answer) return true;
    const rpc_error& e = answer.error();
    return (e.failure == rpc_failure::node_error && e.code != rpc_in_warmup) || e.failure == rpc_failure::forbidden;
}

/// The least rate that the node takes now: of getmempoolinfo, mempoolminfee, which rises while the mempool is full, or
/// minrelaytxfee, whichever is more.  Zero when it does not say, or may not be asked; nothing when it did not answer.
[[nodiscard]] inline std::optional<fee_rate> read_mempool_floor(const rpc_result& answer) {
    if (!is_an_answer(answer)) return std::nullopt;
    fee_rate floor{};
    if (answer)
        for (const char* const name : {"mempoolminfee", "minrelaytxfee"})
            if (const auto text = number_text(member(*answer, name)))
                if (const auto rate = parse_btc_per_kvb(*text)) floor = std::max(floor, *rate);
    return floor;
}

/// The rate of estimatesmartfee, between the least that nodes take and `max`; the fallback when the node has none, or may
/// not be asked.  Nothing when the node did not answer: what was known before still holds.
/// floor  of read_mempool_floor.  A quarter more is paid, for it moves while a transaction waits.
[[nodiscard]] inline std::optional<fee_rate> read_fee_estimate(const rpc_result& answer, fee_rate floor,
                                                               const fee_settings& s) {
    if (!is_an_answer(answer)) return std::nullopt;
    fee_rate rate = s.fallback;
    if (answer)
        if (const auto text = number_text(member(*answer, "feerate")))
            if (const auto estimate = parse_btc_per_kvb(*text); estimate && estimate->sat_per_kvb > 0) rate = *estimate;
    if (floor > min_relay_fee_rate) rate = std::max(rate, fee_rate{floor.sat_per_kvb + floor.sat_per_kvb / 4});
    return std::max(min_relay_fee_rate, std::min(rate, s.max));
}

/// Of getmempoolentry; zeros for what the node does not say.
[[nodiscard]] inline mempool_fees read_mempool_entry(const rpc_result& answer) {
    if (!answer) return {};
    const auto read = [&](const char* fee_name, const char* size_name) -> package {
        constexpr std::int64_t block = 1'000'000;  // [vbytes] what is more, is in no block
        const auto text = number_text(member(member(*answer, "fees"), fee_name));
        const auto fee = text ? parse_btc(*text) : fail(errc::malformed, "");
        const auto vsize = integer(member(*answer, size_name));
        if (!fee || !vsize || *vsize <= 0 || *vsize > block) return {};
        return {*fee, *vsize};
    };
    return {read("base", "vsize"), read("ancestor", "ancestorsize")};
}

/// What we use of gettxout, for an output that is in a block and unspent.
struct coin_info {
    block_hash best;  ///< of which this is true
    std::int32_t confirmations = 0;
};

/// Fails  not_found (it is not there), malformed, and as the node does.
[[nodiscard]] inline result<coin_info> read_coin(const rpc_result& answer) {
    if (!answer) return fail(errc::other, answer.error().message);
    if (answer->is_null()) return fail(errc::not_found, "the output is spent, or in no block");
    const auto best = parse_block_hash(text_or_empty(member(*answer, "bestblock")));
    const auto confirmations = integer(member(*answer, "confirmations"));
    if (!best || !confirmations || *confirmations < 1 || *confirmations > INT32_MAX)
        return fail(errc::malformed, "the node's gettxout is not understood");
    return coin_info{*best, static_cast<std::int32_t>(*confirmations)};
}

/// What we use of getblockchaininfo.
struct chain_info {
    std::string chain;  ///< main, test, testnet4, signet, regtest
    std::int32_t height = 0;
    block_hash best;
    bool initial_download = false;
    std::optional<unix_time> median_time;      ///< of the best block, where the node tells it
    std::optional<std::int32_t> prune_height;  ///< the lowest block that a node has which deletes old ones
};

/// Fails  malformed.
[[nodiscard]] inline result<chain_info> read_chain_info(const json& answer) {
    const auto height = integer(member(answer, "blocks"));
    const auto best = parse_block_hash(text_or_empty(member(answer, "bestblockhash")));
    const std::string& chain = text_or_empty(member(answer, "chain"));
    if (!height || *height < 0 || *height > INT32_MAX - 1 || !best || chain.empty())
        return fail(errc::malformed, "the node's getblockchaininfo is not understood");
    const json& downloading = member(answer, "initialblockdownload");
    chain_info info{one_line(chain), static_cast<std::int32_t>(*height),
                    *best,           downloading.is_boolean() && downloading.get<bool>(),
                    std::nullopt,    std::nullopt};
    if (const auto seconds = integer(member(answer, "mediantime"))) info.median_time = unix_time{*seconds};
    if (const auto lowest = integer(member(answer, "pruneheight")); lowest && *lowest > 0 && *lowest <= *height)
        info.prune_height = static_cast<std::int32_t>(*lowest);
    return info;
}

}  // namespace paychan::bitcoind
