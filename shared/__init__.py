"""What more than one service uses: contracts, platform, reading, client."""
