"""What all pages have in common that drivebuild writes: one file, no network, light and dark, phone and paper."""
