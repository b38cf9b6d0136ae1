package turn

import (
	"fmt"
	"net"

	"github.com/pion/logging"

	"barid/internal/metrics"
)

func limitOf(s *Server) metrics.Limit {
	return metrics.Limit{
		Name: "turn_allocations", Help: "allocations of TURN", Max: int64(s.cfg.MaxAllocations),
		Use:     func() int64 { return int64(s.Allocations()) },
		Refused: func() int64 { s.mu.RLock(); defer s.mu.RUnlock(); return s.over },
	}
}

// quiet gives an error without the addresses that package net puts into it.
func quiet(err error) error {
	if op, ok := err.(*net.OpError); ok {
		return fmt.Errorf("%s: %w", op.Op, op.Err)
	}
	return err
}

// silence takes what the library would log: its lines have addresses of
// clients and peers. Whatever of it matters is counted by us.
type silence struct{}

func (silence) NewLogger(string) logging.LeveledLogger { return silence{} }

func (silence) Trace(string)          {}
func (silence) Tracef(string, ...any) {}
func (silence) Debug(string)          {}
func (silence) Debugf(string, ...any) {}
func (silence) Info(string)           {}
func (silence) Infof(string, ...any)  {}
func (silence) Warn(string)           {}
func (silence) Warnf(string, ...any)  {}
func (silence) Error(string)          {}
func (silence) Errorf(string, ...any) {}
