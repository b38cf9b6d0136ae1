package app

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"barid/dkim"
	"barid/internal/admin"
)

// DKIM is the answer to "POST /dkim": what signs, and what must be in the DNS
// for it.
type DKIM struct {
	Keys []DKIMKey `json:"keys"`           // that sign; empty for a relay at an address
	Next []DKIMKey `json:"next,omitempty"` // that wait to be published
}

// DKIMKey is one key.
type DKIMKey struct {
	Selector  string `json:"selector"`
	Algorithm string `json:"algorithm"` // "rsa" or "ed25519"
	Name      string `json:"name"`      // of the TXT record, without the dot at its end
	Text      string `json:"text"`      // of the record, whole
	Line      string `json:"line"`      // the record as a zone file has it
}

// DKIMUse is the question of "POST /dkim/use".
type DKIMUse struct {
	Selector string `json:"selector"`
	Unseen   bool   `json:"unseen"` // do not look whether it is published
}

var errSignsNothing = errors.New("a relay at an address signs nothing")

// handleDKIM answers `barid dkim` and what is below it.
func (a *App) handleDKIM() {
	a.admin.Handle("POST /dkim", admin.Answer(func(context.Context, struct{}) (DKIM, error) { return a.dkimAnswer() }))
	a.admin.Handle("POST /dkim/rotate", admin.Answer(func(context.Context, struct{}) (DKIM, error) {
		if err := a.rotateKeys(); err != nil {
			return DKIM{}, err
		}
		return a.dkimAnswer()
	}))
	a.admin.Handle("POST /dkim/use", admin.Answer(func(ctx context.Context, q DKIMUse) (DKIM, error) {
		if err := a.useKey(ctx, q); err != nil {
			return DKIM{}, err
		}
		return a.dkimAnswer()
	}))
}

func (a *App) dkimAnswer() (DKIM, error) {
	answer := DKIM{Keys: a.keyLines(a.signingKeys())}
	if a.signer == nil {
		return answer, nil
	}
	next, err := dkim.FindNext(a.dataPath("dkim"))
	answer.Next = a.keyLines(next)
	return answer, err
}

func (a *App) keyLines(keys []dkim.Key) []DKIMKey {
	lines := []DKIMKey{}
	for _, k := range keys {
		r := k.Record()
		lines = append(lines, DKIMKey{
			Selector: k.Selector, Algorithm: k.Algorithm(), Name: r.Name + "." + a.names.mail, Text: r.Text, Line: r.Line(a.names.mail),
		})
	}
	return lines
}

// rotateKeys makes the next keys ready. One that the configuration adopts is
// not ours to follow.
func (a *App) rotateKeys() error {
	if a.signer == nil {
		return errSignsNothing
	}
	var ours []string
	for _, k := range a.signingKeys() {
		if k.Selector != a.cfg.DKIM.Selector {
			ours = append(ours, k.Algorithm())
		}
	}
	return dkim.MakeNext(a.dataPath("dkim"), time.Now(), ours...)
}

// useKey lets a key sign that others can look up.
func (a *App) useKey(ctx context.Context, q DKIMUse) error {
	if a.signer == nil {
		return errSignsNothing
	}
	next, err := dkim.FindNext(a.dataPath("dkim"))
	if err != nil {
		return err
	}
	i := slices.IndexFunc(next, func(k dkim.Key) bool { return k.Selector == q.Selector })
	if i < 0 {
		return fmt.Errorf("use DKIM key %q: %w", q.Selector, dkim.ErrNoNext)
	}
	if !q.Unseen {
		if err := a.published(ctx, next[i].Record()); err != nil {
			return err
		}
	}
	if err := dkim.UseNext(a.dataPath("dkim"), q.Selector); err != nil {
		return err
	}
	keys, err := a.openKeys()
	if err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.signer.SetKeys(keys)
	a.dkimKeys = keys
	return nil
}

// published tells whether the world can look a record up. Editors of zones add
// blanks, and some keep their own other tags: it is the key that counts.
func (a *App) published(ctx context.Context, r dkim.Record) error {
	name := r.Name + "." + a.names.mail
	answer, err := a.resolver.FreshTXT(ctx, name, 0)
	if err != nil {
		return fmt.Errorf("is the key published: %w", err)
	}
	_, key, _ := strings.Cut(r.Text, ";p=")
	key, _, _ = strings.Cut(key, ";")
	if !slices.ContainsFunc(answer.Records, func(text string) bool {
		return strings.Contains(strings.ReplaceAll(text, " ", ""), "p="+key)
	}) {
		return fmt.Errorf("%s has another record than that of the key", name)
	}
	return nil
}
