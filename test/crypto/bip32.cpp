// BIP32's own test vectors 1 to 3, read from their published xprv and xpub texts.
#include "paychan/crypto/bip32.hpp"

#include <catch2/catch.hpp>

#include "support.hpp"

using namespace paychan;
using support::hex;
using support::unhex;

namespace {

struct node {
    std::uint32_t index;  // of the step that leads here; unused for the first
    const char* xpub;
    const char* xprv;
};

struct vector {
    const char* seed;
    std::vector<node> chain;
};

const vector bip32_vectors[] = {
    {"000102030405060708090a0b0c0d0e0f",
     {
         {0,
          "xpub661MyMwAqRbcFtXgS5sYJABqqG9YLmC4Q1Rdap9gSE8NqtwybGhePY2gZ29ESFjqJoCu1Rupje8YtGqsefD265TMg7usUDFdp6W1EGMc"
          "et8",
          "xprv9s21ZrQH143K3QTDL4LXw2F7HEK3wJUD2nW2nRk4stbPy6cq3jPPqjiChkVvvNKmPGJxWUtg6LnF5kejMRNNU3TGtRBeJgk33yuGBxrM"
          "PHi"},
         {hardened + 0,
          "xpub68Gmy5EdvgibQVfPdqkBBCHxA5htiqg55crXYuXoQRKfDBFA1WEjWgP6LHhwBZeNK1VTsfTFUHCdrfp1bgwQ9xv5ski8PX9rL2dZXvgG"
          "Dnw",
          "xprv9uHRZZhk6KAJC1avXpDAp4MDc3sQKNxDiPvvkX8Br5ngLNv1TxvUxt4cV1rGL5hj6KCesnDYUhd7oWgT11eZG7XnxHrnYeSvkzY7d2bh"
          "kJ7"},
         {1,
          "xpub6ASuArnXKPbfEwhqN6e3mwBcDTgzisQN1wXN9BJcM47sSikHjJf3UFHKkNAWbWMiGj7Wf5uMash7SyYq527Hqck2AxYysAA7xmALppuC"
          "kwQ",
          "xprv9wTYmMFdV23N2TdNG573QoEsfRrWKQgWeibmLntzniatZvR9BmLnvSxqu53Kw1UmYPxLgboyZQaXwTCg8MSY3H2EU4pWcQDnRnrVA1xe"
          "8fs"},
         {hardened + 2,
          "xpub6D4BDPcP2GT577Vvch3R8wDkScZWzQzMMUm3PWbmWvVJrZwQY4VUNgqFJPMM3No2dFDFGTsxxpG5uJh7n7epu4trkrX7x7DogT5Uv6fc"
          "LW5",
          "xprv9z4pot5VBttmtdRTWfWQmoH1taj2axGVzFqSb8C9xaxKymcFzXBDptWmT7FwuEzG3ryjH4ktypQSAewRiNMjANTtpgP4mLTj34bhnZX7"
          "UiM"},
         {2,
          "xpub6FHa3pjLCk84BayeJxFW2SP4XRrFd1JYnxeLeU8EqN3vDfZmbqBqaGJAyiLjTAwm6ZLRQUMv1ZACTj37sR62cfN7fe5JnJ7dh8zL4fiy"
          "LHV",
          "xprvA2JDeKCSNNZky6uBCviVfJSKyQ1mDYahRjijr5idH2WwLsEd4Hsb2Tyh8RfQMuPh7f7RtyzTtdrbdqqsunu5Mm3wDvUAKRHSC34sJ7in"
          "334"},
         {1000000000,
          "xpub6H1LXWLaKsWFhvm6RVpEL9P4KfRZSW7abD2ttkWP3SSQvnyA8FSVqNTEcYFgJS2UaFcxupHiYkro49S8yGasTvXEYBVPamhGW6cFJodr"
          "THy",
          "xprvA41z7zogVVwxVSgdKUHDy1SKmdb533PjDz7J6N6mV6uS3ze1ai8FHa8kmHScGpWmj4WggLyQjgPie1rFSruoUihUZREPSL39UNdE3BBD"
          "u76"},
     }},
    {"fffcf9f6f3f0edeae7e4e1dedbd8d5d2cfccc9c6c3c0bdbab7b4b1aeaba8a5a2"
     "9f9c999693908d8a8784817e7b7875726f6c696663605d5a5754514e4b484542",
     {
         {0,
          "xpub661MyMwAqRbcFW31YEwpkMuc5THy2PSt5bDMsktWQcFF8syAmRUapSCGu8ED9W6oDMSgv6Zz8idoc4a6mr8BDzTJY47LJhkJ8UB7WEGu"
          "duB",
          "xprv9s21ZrQH143K31xYSDQpPDxsXRTUcvj2iNHm5NUtrGiGG5e2DtALGdso3pGz6ssrdK4PFmM8NSpSBHNqPqm55Qn3LqFtT2emdEXVYsCz"
          "C2U"},
         {0,
          "xpub69H7F5d8KSRgmmdJg2KhpAK8SR3DjMwAdkxj3ZuxV27CprR9LgpeyGmXUbC6wb7ERfvrnKZjXoUmmDznezpbZb7ap6r1D3tgFxHmwMkQ"
          "TPH",
          "xprv9vHkqa6EV4sPZHYqZznhT2NPtPCjKuDKGY38FBWLvgaDx45zo9WQRUT3dKYnjwih2yJD9mkrocEZXo1ex8G81dwSM1fwqWpWkeS3v86p"
          "gKt"},
         {hardened + 2147483647,
          "xpub6ASAVgeehLbnwdqV6UKMHVzgqAG8Gr6riv3Fxxpj8ksbH9ebxaEyBLZ85ySDhKiLDBrQSARLq1uNRts8RuJiHjaDMBU4Zn9h8LZNnBC5"
          "y4a",
          "xprv9wSp6B7kry3Vj9m1zSnLvN3xH8RdsPP1Mh7fAaR7aRLcQMKTR2vidYEeEg2mUCTAwCd6vnxVrcjfy2kRgVsFawNzmjuHc2YmYRmagcEP"
          "dU9"},
         {1,
          "xpub6DF8uhdarytz3FWdA8TvFSvvAh8dP3283MY7p2V4SeE2wyWmG5mg5EwVvmdMVCQcoNJxGoWaU9DCWh89LojfZ537wTfunKau47EL2dhH"
          "Kon",
          "xprv9zFnWC6h2cLgpmSA46vutJzBcfJ8yaJGg8cX1e5StJh45BBciYTRXSd25UEPVuesF9yog62tGAQtHjXajPPdbRCHuWS6T8XA2ECKADdw"
          "4Ef"},
         {hardened + 2147483646,
          "xpub6ERApfZwUNrhLCkDtcHTcxd75RbzS1ed54G1LkBUHQVHQKqhMkhgbmJbZRkrgZw4koxb5JaHWkY4ALHY2grBGRjaDMzQLcgJvLJuZZvR"
          "cEL",
          "xprvA1RpRA33e1JQ7ifknakTFpgNXPmW2YvmhqLQYMmrj4xJXXWYpDPS3xz7iAxn8L39njGVyuoseXzU6rcxFLJ8HFsTjSyQbLYnMpCqE2Vb"
          "FWc"},
         {2,
          "xpub6FnCn6nSzZAw5Tw7cgR9bi15UV96gLZhjDstkXXxvCLsUXBGXPdSnLFbdpq8p9HmGsApME5hQTZ3emM2rnY5agb9rXpVGyy3bdW6EEgA"
          "tqt",
          "xprvA2nrNbFZABcdryreWet9Ea4LvTJcGsqrMzxHx98MMrotbir7yrKCEXw7nadnHM8Dq38EGfSh6dqA9QWTyefMLEcBYJUuekgW4BYPJcr9"
          "E7j"},
     }},
    {"4b381541583be4423346c643850da4b320e46a87ae3d2a4e6da11eba819cd4ac"
     "ba45d239319ac14f863b8d5ab5a0d0c64d2e8a1e7d1457df2e5a3c51c73235be",
     {
         {0,
          "xpub661MyMwAqRbcEZVB4dScxMAdx6d4nFc9nvyvH3v4gJL378CSRZiYmhRoP7mBy6gSPSCYk6SzXPTf3ND1cZAceL7SfJ1Z3GC8vBgp2epU"
          "t13",
          "xprv9s21ZrQH143K25QhxbucbDDuQ4naNntJRi4KUfWT7xo4EKsHt2QJDu7KXp1A3u7Bi1j8ph3EGsZ9Xvz9dGuVrtHHs7pXeTzjuxBrCmmh"
          "gC6"},
         {hardened + 0,
          "xpub68NZiKmJWnxxS6aaHmn81bvJeTESw724CRDs6HbuccFQN9Ku14VQrADWgqbhhTHBaohPX4CjNLf9fq9MYo6oDaPPLPxSb7gwQN3ih19Z"
          "m4Y",
          "xprv9uPDJpEQgRQfDcW7BkF7eTya6RPxXeJCqCJGHuCJ4GiRVLzkTXBAJMu2qaMWPrS7AANYqdq6vcBcBUdJCVVFceUvJFjaPdGZ2y9WACVi"
          "L4L"},
     }},
};

// The 78 bytes of a base58check text; the checksum is checked.
std::vector<std::uint8_t> unbase58(std::string_view text) {
    constexpr std::string_view digits = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
    std::vector<std::uint8_t> out(82);
    for (const char c : text) {
        auto carry = static_cast<unsigned>(digits.find(c));
        REQUIRE(carry < 58);
        for (auto b = out.rbegin(); b != out.rend(); ++b) {
            carry += 58U * *b;
            *b = static_cast<std::uint8_t>(carry);
            carry >>= 8;
        }
        REQUIRE(carry == 0);
    }
    const auto checksum = hash256(bytes_view(out).first(78));
    REQUIRE(equal(bytes_view(out).last(4), bytes_view(checksum).first(4)));
    out.resize(78);
    return out;
}

// BIP32's serialization: version 4, depth 1, fingerprint 4, index 4, chain code 32, 00 and key or public key 33.
void check_is(const extended_key& ours, const node& published) {
    const auto prv = unbase58(published.xprv);
    const auto pub = unbase58(published.xpub);
    CHECK(hex(ours.chain_code.reveal()) == hex(bytes_view(prv).subspan(13, 32)));
    CHECK(hex(ours.key.reveal()) == hex(bytes_view(prv).subspan(46, 32)));
    CHECK(hex(public_key_of(ours.key).view()) == hex(bytes_view(pub).subspan(45, 33)));
}

}  // namespace

TEST_CASE("keys are derived as BIP32 publishes them", "[bip32]") {
    for (const auto& v : bip32_vectors) {
        auto key = master_key(unhex(v.seed));
        REQUIRE(key);
        check_is(*key, v.chain[0]);
        for (std::size_t i = 1; i < v.chain.size(); ++i) {
            key = derive(*key, v.chain[i].index);
            REQUIRE(key);
            check_is(*key, v.chain[i]);
        }
    }
}

TEST_CASE("a seed is 16 to 64 bytes", "[bip32]") {
    for (const std::size_t good : {16U, 32U, 64U}) CHECK(master_key(std::vector<std::uint8_t>(good, 1)));
    for (const std::size_t bad : {0U, 15U, 65U}) {
        const auto key = master_key(std::vector<std::uint8_t>(bad, 1));
        REQUIRE(!key);
        CHECK(key.error().code == errc::invalid_argument);
    }
}

TEST_CASE("a key that was moved from derives nothing", "[bip32]") {
    auto key = master_key(unhex(bip32_vectors[0].seed));
    REQUIRE(key);
    const auto taken = std::move(*key);
    for (const std::uint32_t index : {0U, hardened}) {
        const auto child = derive(*key, index);  // NOLINT: the contract of secret
        REQUIRE(!child);
        CHECK(child.error().code == errc::invalid_key);
        CHECK(derive(taken, index));
    }
}
