// The events of channels as the tool reports them, for both roles.
#pragma once

#include "paychan/channel/effects.hpp"
#include "report.hpp"

namespace tool {

/// Reports one event of a driver or a book.  Payments are only reported with --json, or when they carry info: people get
/// a progress line.
/// protocol  the channel's protocol version, where `opened` should tell it; 0: it should not
/// advice    what the user may do about an error
void report_event(report& out, const paychan::event& e, std::int32_t protocol = 0, const std::string& advice = {});

}  // namespace tool
