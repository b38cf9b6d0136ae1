package app

import (
	"net/url"
	"time"

	"barid/internal/config"
	"barid/internal/zone"
	"barid/web"
)

// webLimits are what the pages tell of the configuration.
func webLimits(cfg *config.Config) web.Limits {
	return web.Limits{
		SendPerMinute: cfg.Limits.MaxUserSendPerMinute,
		MessageSize:   int64(cfg.Limits.MaxMessageSize),
		MailboxSize:   int64(cfg.Limits.MaxMailboxSize),
		Recipients:    cfg.Limits.MaxSMTPRecipients,
		KeepMessages:  time.Duration(cfg.Expiry.DeleteMailsAfter),
		KeepLarge:     time.Duration(cfg.Expiry.DeleteLargeAfter),
		KeepAccounts:  time.Duration(cfg.Expiry.DeleteInactiveUsersAfter),
		NameReuse:     time.Duration(cfg.Accounts.NameReuseAfter),
	}
}

// pushHost is who is asked to wake devices, or "".
func pushHost(p config.Push) string {
	u, err := url.Parse(p.URL)
	if err != nil || !p.Enabled {
		return ""
	}
	return u.Hostname()
}

// policyText is the MTA-STS policy, where there is one.
func policyText(cfg *config.Config) string {
	if !HasPolicy(cfg) {
		return ""
	}
	return zone.Policy(cfg.Domain)
}
