// SPDX-FileCopyrightText: 2026 The msocket authors
// SPDX-License-Identifier: MIT
#pragma once
#include <string>
#include <vector>

namespace msocket::daemons {

/// Processor features that programs choose code by, and the size of the register image that the kernel saves (XSAVE), as text.
std::string cpu_signature();
/// The same with these features taken out ("-avx2", for tests).
std::string without_features(const std::string& signature, const std::vector<std::string>& names);
/// What a process that has begun on `there` misses on `here`, one reason each; empty: it can run here. More features are no reason.
std::vector<std::string> missing_features(const std::string& there, const std::string& here);

}  // namespace msocket::daemons
