// The umbrella: everything that needs no dependency of its own, floors 0-5 and memory/.
#pragma once

#include "paychan/client.hpp"
#include "paychan/client_monitor.hpp"
#include "paychan/memory/chain.hpp"
#include "paychan/memory/chain_follower.hpp"
#include "paychan/memory/clock.hpp"
#include "paychan/memory/keys.hpp"
#include "paychan/memory/pipe.hpp"
#include "paychan/memory/store.hpp"
#include "paychan/memory/wallet.hpp"
#include "paychan/server.hpp"
#include "paychan/server_monitor.hpp"
#include "paychan/wire/codec.hpp"
