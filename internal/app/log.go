package app

import (
	"log/slog"
	"os"

	"barid/internal/config"
)

// newLogger makes the logger that the configuration asks for.
func newLogger(cfg config.Log) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(cfg.Level)); err != nil {
		level = slog.LevelInfo // config has checked the word
	}
	opt := &slog.HandlerOptions{Level: level}
	if cfg.Format == config.LogJSON {
		return slog.New(slog.NewJSONHandler(os.Stderr, opt))
	}
	return slog.New(slog.NewTextHandler(os.Stderr, opt))
}
