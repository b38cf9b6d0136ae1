package app

import (
	"context"

	"barid/internal/admin"
)

// DKIM is the answer to "POST /dkim": what signs, and what must be in the DNS
// for it.
type DKIM struct {
	Keys []DKIMKey `json:"keys"` // empty for a relay at an address
}

// DKIMKey is one key that signs.
type DKIMKey struct {
	Selector  string `json:"selector"`
	Algorithm string `json:"algorithm"` // "rsa" or "ed25519"
	Name      string `json:"name"`      // of the TXT record, without the dot at its end
	Text      string `json:"text"`      // of the record, whole
	Line      string `json:"line"`      // the record as a zone file has it
}

// handleDKIM answers `barid dkim`.
func (a *App) handleDKIM() {
	a.admin.Handle("POST /dkim", admin.Answer(func(context.Context, struct{}) (DKIM, error) {
		answer := DKIM{Keys: []DKIMKey{}}
		for _, k := range a.dkimKeys {
			r := k.Record()
			answer.Keys = append(answer.Keys, DKIMKey{
				Selector: k.Selector, Algorithm: k.Algorithm(), Name: r.Name + "." + a.names.mail, Text: r.Text, Line: r.Line(a.names.mail),
			})
		}
		return answer, nil
	}))
}
