package local

import (
	"slices"

	"barid/storage"
	"barid/storage/metadata"
)

// removeToken decides a RemoveToken. Tokens know whole seconds only, so one
// that was set in the second of SetBy goes.
func (c *commit) removeToken(b *builder, op storage.RemoveToken) error {
	meta := cloneMetadata(b.st.meta)
	tokens := meta.Tokens(c.s.cfg.Now())
	at := slices.IndexFunc(tokens, func(t metadata.Token) bool { return t.Value == op.Token })
	if at < 0 || !op.SetBy.IsZero() && tokens[at].Set.After(op.SetBy) {
		return nil
	}
	c.change(b, change{kind: changeEntry, text: deviceToken, value: []byte(op.Token), remove: true, at: c.s.cfg.Now().Unix()})
	return nil
}

// removeToken removes a token.
func (b *builder) removeToken(token string) {
	meta := cloneMetadata(b.st.meta)
	if meta.RemoveToken(token) {
		b.st.meta, b.changed = meta, true
	}
}
