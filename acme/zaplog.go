package acme

import (
	"context"
	"log/slog"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// zapLog is the logger that certmagic wants.
type zapLog = *zap.Logger

// zapLogger gives one that writes to log, one step quieter: what matters to
// an operator is logged by this package in its own words. Of the fields only
// those go through that cannot carry anybody's address.
func zapLogger(log *slog.Logger) zapLog {
	return zap.New(&bridge{log: log})
}

// bridge is a zapcore.Core on an slog.Logger.
type bridge struct {
	log *slog.Logger
	had []zapcore.Field
}

// level translates, one step down.
func level(l zapcore.Level) slog.Level {
	switch {
	case l >= zapcore.ErrorLevel:
		return slog.LevelWarn
	case l == zapcore.WarnLevel:
		return slog.LevelInfo
	}
	return slog.LevelDebug
}

// Enabled implements zapcore.Core.
func (b *bridge) Enabled(l zapcore.Level) bool {
	return b.log.Enabled(context.Background(), level(l))
}

// With implements zapcore.Core.
func (b *bridge) With(fields []zapcore.Field) zapcore.Core {
	return &bridge{log: b.log, had: append(b.had[:len(b.had):len(b.had)], fields...)}
}

// Check implements zapcore.Core.
func (b *bridge) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if b.Enabled(e.Level) {
		return ce.AddCore(e, b)
	}
	return ce
}

// shown are the fields that are passed on.
var shown = map[string]bool{"identifier": true, "issuer": true, "error": true, "attempt": true, "retrying_in": true, "challenge_type": true, "remaining": true}

// Write implements zapcore.Core.
func (b *bridge) Write(e zapcore.Entry, fields []zapcore.Field) error {
	enc := zapcore.NewMapObjectEncoder()
	for _, f := range append(b.had[:len(b.had):len(b.had)], fields...) {
		if shown[f.Key] {
			f.AddTo(enc)
		}
	}
	args := make([]any, 0, 2*len(enc.Fields))
	for k, v := range enc.Fields {
		args = append(args, k, v)
	}
	b.log.Log(context.Background(), level(e.Level), e.Message, args...)
	return nil
}

// Sync implements zapcore.Core.
func (*bridge) Sync() error { return nil }
