package app

import (
	"context"
	"strconv"

	"barid/storage"
)

// The shared metadata entries that clients read (RFC 5464 section 6.2.1;
// the vendor's names are Delta Chat's).
const (
	entryAdmin      = "/shared/admin"
	entryIroh       = "/shared/vendor/deltachat/irohrelay"
	entryTURN       = "/shared/vendor/deltachat/turn"
	entryRecipients = "/shared/vendor/deltachat/maxsmtprecipients"
	entryVersions   = "/shared/vendor/deltachat/appversions"
)

// announce gives the value of a shared entry on the server for an account, or
// none.
func (a *App) announce(_ context.Context, to storage.Account, entry string) ([]byte, bool) {
	switch entry {
	case entryAdmin:
		if a.cfg.Contact.Admin != "" {
			return []byte("mailto:" + a.cfg.Contact.Admin), true
		}
	case entryIroh:
		if url := a.irohURL(); url != "" {
			return []byte(url), true
		}
	case entryTURN:
		if value := a.turnValue(to.Address); value != "" {
			return []byte(value), true
		}
	case entryVersions:
		return a.versions.Value()
	case entryRecipients:
		return strconv.AppendInt(nil, int64(a.cfg.Limits.MaxSMTPRecipients), 10), true
	}
	return nil, false
}
