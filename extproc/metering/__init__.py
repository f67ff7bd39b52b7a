"""What a call uses and what it costs: tokens counted or estimated, prices, and facts about models; pure."""
