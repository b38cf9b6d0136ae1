package local

import (
	"context"
	"fmt"
)

// Health implements storage.Store.
func (s *Store) Health(ctx context.Context) error {
	if err := s.writable(ctx); err != nil {
		return fmt.Errorf("health: %w", err)
	}
	if err := s.room(ctx); err != nil {
		return fmt.Errorf("health: %w", err)
	}
	return nil
}
