// The events of channels as the tool reports them, for both roles.
#pragma once

#include "paychan/channel/effects.hpp"
#include "report.hpp"

namespace tool {

/// Reports one event of a driver or a book.  Payments are only reported with --json: people get a progress line.
void report_event(report& out, const paychan::event& e);

}  // namespace tool
